"""The benches: `python -m bench BENCH --help`; each takes --json FILE (- for standard output)."""

from __future__ import annotations

import argparse
import signal
import sys

from bench import fanout, glass, kernels, latency, pairs, paper, quality, soak, sync, throughput, visits
from bench.report import BenchError
from stream.errors import VretouchError


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
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    # As Ctrl-C, so that the relay and the browser of a bench that is ended end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
