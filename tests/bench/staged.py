"""A staged clip whose truth and figures are known: a grey face of 96 px that drifts one pixel a frame."""

from __future__ import annotations

import numpy as np

from bench.judge import Footage
from bench.metrics import Floats, Pixels
from bench.paths import Retouched

SIDE = 96
FRAMES = 5
SKIN, MARK, MOLE = 180, 150, 120
MARK_AT = (slice(40, 48), slice(40, 48))
MOLE_AT = (slice(60, 66), slice(52, 58))
TRUE_MAP = 0.75


def canvas(*, mark: bool) -> Pixels:
    """The face on its canvas, with or without its imperfection; the mole is always there."""
    picture = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    if mark:
        picture[MARK_AT] = MARK
    picture[MOLE_AT] = MOLE
    return picture


def drifted(picture: np.ndarray, t: int) -> np.ndarray:
    """The canvas as frame t shows it: t px to the right, its first column repeated."""
    return np.concatenate([np.repeat(picture[:, :1], t, axis=1), picture[:, : SIDE - t]], axis=1)


def layer(place: tuple[slice, slice], value: float) -> Floats:
    """float32 [T, H, W] that is `value` where the frames show this part of the canvas."""
    whole = np.zeros((SIDE, SIDE), np.float32)
    whole[place] = value
    return np.stack([drifted(whole, t) for t in range(FRAMES)])


def oval() -> Pixels:
    """uint8 [96, 96]: the face is a disc."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return np.where((x - 48) ** 2 + (y - 50) ** 2 < 26**2, np.uint8(255), np.uint8(0))


def footage(name: str = "staged", monk: int = 3) -> Footage:
    """The clip."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    flow = np.zeros((FRAMES, SIDE, SIDE, 2), np.float32)
    flow[1:, ..., 0] = -1.0
    return Footage(
        name=name,
        monk=monk,
        raw_u8=np.stack([drifted(canvas(mark=True), t) for t in range(FRAMES)]),
        target_u8=np.stack([drifted(canvas(mark=False), t) for t in range(FRAMES)]),
        map=layer(MARK_AT, TRUE_MAP),
        skin=np.stack([drifted(oval(), t) for t in range(FRAMES)]) > 0,
        keep=layer(MOLE_AT, 1.0),
        flow=flow,
        to_canvas=np.stack([np.dstack([x - t, y]) for t in range(FRAMES)]),
        oval=oval(),
    )


class StagedPath:
    """A retoucher that knows where the mark is: it removes `share` of it, and adds `everywhere` to all
    pixels."""

    def __init__(self, share: float = 1.0, everywhere: int = 0, flickers: int = 0, mole: bool = True) -> None:
        self.share, self.everywhere, self.flickers, self.mole = share, everywhere, flickers, mole
        self.begun = 0
        self.begin()
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1
        self._t = 0

    def frame(self, raw_u8: Pixels) -> Retouched:
        t, self._t = self._t, self._t + 1
        change = np.zeros((SIDE, SIDE, 3))
        change[MARK_AT] = self.share * (SKIN - MARK)
        if not self.mole:
            change[MOLE_AT] = SKIN - MOLE
        out = raw_u8 + drifted(change, t) + self.everywhere + (self.flickers if t % 2 else 0)
        seen = np.zeros((SIDE, SIDE), np.float32)
        seen[MARK_AT] = TRUE_MAP
        return Retouched(np.rint(out).astype(np.uint8), drifted(seen, t), True)
