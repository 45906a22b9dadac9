"""The benches: `python -m bench BENCH --help`; each takes --json FILE (- for standard output)."""

from __future__ import annotations

import argparse
import signal
import sys

from bench import fanout, glass, kernels, latency, pairs, paper, quality, soak, sync, throughput, visits
from bench.report import BenchError
from stream.errors import VretouchError

# Options of the benches by which they need more memory.
TAKE_MEMORY = ("clips", "frames", "judged_frames", "batch", "size", "resolution", "viewers", "limit", "jobs")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    for module in (quality, latency, throughput, kernels, glass, sync, soak, visits, fanout, paper, pairs):
        name = module.__name__.split(".")[1]
        bench = benches.add_parser(name, description=module.__doc__, help=module.__doc__)
        module.add_arguments(bench)
        bench.set_defaults(run=module.main)
    options = parser.parse_args(arguments)
    run = options.run
    del options.run
    try:
        return int(run(options))
    except (VretouchError, BenchError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(_refused(error), file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _memory_is_out(error):
            raise
        print(_too_large(options), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _refused(error: OSError) -> str:
    """What the system refused, in one sentence."""
    what = "a file or a connection" if error.filename is None else error.filename
    why = error.strerror or str(error).partition("\n")[0] or type(error).__name__
    return f"{what} cannot be used ({why}); see that it is there and yours to use, and that its disk has room"


def _memory_is_out(error: MemoryError | RuntimeError) -> bool:
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:
        return False
    from model.weights import out_of_memory

    return out_of_memory(error)


def _too_large(options: argparse.Namespace) -> str:
    """That memory is out, and with which of the bench's options less of it is needed, in one sentence."""
    names = [f"--{name.replace('_', '-')}" for name in TAKE_MEMORY if name in options]
    remedy = f"lower {' or '.join(names)}" if names else "end other programs"
    return f"the memory does not suffice for bench {options.bench}; {remedy}"


if __name__ == "__main__":
    # As Ctrl-C, so that the relay and the browser of a bench that is ended end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
