"""Where the pairs of a training come from: frames of painted clips, or pictures on disk."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, count, islice
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from model.clip_stream import ClipStream, validation_clips
from model.data.ahead import made_ahead
from model.data.clips import Clip
from model.data.pairs import IMAGES, SIDES, PairsError, pictures_in
from model.data.portraits import Portraits
from model.data.sequences import PairClips, SequenceConfig
from model.distributed import rank, world
from model.earlier import Pairs
from model.earlier.options import Options
from model.earlier.unpaired import UnpairedPictures
from model.options import Options as ClipOptions
from model.training import names_hash

JUDGED_SEED = 12345
JUDGED_PAIRS = 8
JUDGED_FRAMES = 3


def pairs_of(clip: Clip) -> Pairs:
    """The frames of clips [B, T, ...] as pairs."""
    return Pairs(clip.raw.flatten(0, 1), clip.target.flatten(0, 1))


def is_prepared(folder: Path) -> bool:
    """Whether the folder holds prepared portraits, and not pairs on disk.

    Raises:
        PairsError: it holds neither.
    """
    if (folder / "index.json").is_file():
        return True
    if (folder / "train").is_dir():
        return False
    raise PairsError(
        f"{folder} holds neither prepared portraits nor pairs; make the first with `python -m "
        "stream.portraits`, or lay pairs out as train|test / source|target."
    )


def learnt_from(options: Options) -> dict[str, str]:
    """What a resumed training must have the same of its pictures: a hash of their names, by the argument that
    names their folder.

    Raises:
        PairsError, FacesError: the folder holds none.
    """
    found = {"DATA": names_hash(_names(options.data))}
    if options.unpaired is not None:
        sides = [options.unpaired / side for side in SIDES]
        names = [f"{side.name}/{picture.stem}" for side in sides for picture in pictures_in(side)]
        found["--unpaired"] = names_hash(names)
    return found


def _names(data: Path) -> list[str]:
    """Of the portraits or pairs that are trained on; what is wrong with pairs is said where they are read."""
    if is_prepared(data):
        faces = Portraits(data, "train")
        return [faces.rows[face].file for face in faces.ids]
    side = data / "train" / SIDES[0]
    entries = [path for path in side.glob("*") if not path.name.startswith(".")]
    folders = [path.name for path in entries if path.is_dir()]
    return folders or [path.stem for path in entries if path.suffix.lower() in IMAGES]


def batches(options: Options, step: int) -> Iterator[Pairs]:
    """Endless pairs from step `step` on, with unpaired pictures beside them if there are any."""
    prepared = is_prepared(options.data)
    pairs = map(pairs_of, _painted(options, step)) if prepared else _on_disk(options, step)
    if options.unpaired is None:
        return pairs
    pictures = UnpairedPictures(options.unpaired, options.size, options.seed)
    beside = _ahead(pictures.drawn, step, options.batch * options.frames, options.threads)
    return (
        replace(paired, unpaired_raw=raw, unpaired_target=target)
        for paired, (raw, target) in zip(pairs, beside, strict=True)
    )


def _ahead(
    make: Callable[[int], tuple[Tensor, Tensor]], step: int, each: int, threads: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Without end, from step `step` on: `each` of what `make` makes of a number, together. All threads share
    a step's and make the next one's meanwhile; over all processes its numbers are those of a single one."""
    firsts = ((at * world() + rank()) * each for at in count(step))
    numbers = chain.from_iterable(range(first, first + each) for first in firsts)
    made = made_ahead(make, numbers, threads, ahead=each)
    while True:
        raw, target = zip(*islice(made, each), strict=True)
        yield torch.cat(raw), torch.cat(target)


def _painted(options: Options, step: int) -> Iterator[Clip]:
    """The very clips that the causal network learns from."""
    stream = ClipStream(_clip_options(options), step)
    return iter(DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4))


def _on_disk(options: Options, step: int) -> Iterator[Pairs]:
    """Crops of the pictures, each frame another one of its picture."""
    config = SequenceConfig(options.size, options.frames, "independent")
    clips = PairClips(options.data, "train", config, options.seed)

    def crops(number: int) -> tuple[Tensor, Tensor]:
        clip = clips.clip(number)
        return clip.raw[0], clip.target[0]

    ahead = _ahead(crops, step, options.batch, options.threads)
    return (Pairs(raw, target) for raw, target in ahead)


def held_out(options: Options) -> list[Clip]:
    """The same clips of people or pictures that are not trained on every time."""
    if is_prepared(options.data):
        return validation_clips(_clip_options(options))
    config = SequenceConfig(frames=JUDGED_FRAMES, motion="smooth")
    tests = PairClips(options.data, "test", config, JUDGED_SEED)
    return [tests.clip(number, index=number) for number in range(min(JUDGED_PAIRS, len(tests)))]


def _clip_options(options: Options) -> ClipOptions:
    return ClipOptions(
        options.data,
        options.out,
        batch=options.batch,
        frames=options.frames,
        size=options.size,
        seed=options.seed,
    )


def to_device(pairs: Pairs, device: str) -> Pairs:
    """The pairs on `device`."""
    given = {name: pictures for name, pictures in vars(pairs).items() if pictures is not None}
    return Pairs(**{name: pictures.to(device, non_blocking=True) for name, pictures in given.items()})
