"""One-Euro filters (Casiez, Roussel and Vogel, CHI 2012) for the alignment and for the landmarks inside it.

A jittering crop flickers, so the alignment is smoothed hard while the face rests and follows as it moves. Lag
does not misplace the effect, since the crop and the un-crop share one alignment; it only shifts the face
inside the crop. The outlines of eyes and lips must not lag, so the landmarks are filtered lightly, in the
pixels of the smoothed face.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream.crop import FACE_PX, alignment, invert, transform

Vector = npt.NDArray[np.float64]

_CENTRE_PX = np.array([[(FACE_PX - 1) / 2.0, (FACE_PX - 1) / 2.0]])
# A turn or a change of scale moves the face's rim by this many face pixels per radian or per e-fold.
_RIM_PX = 170.0


@dataclass(frozen=True)
class OneEuroGains:
    """rest_hz: cutoff at rest. gain: Hz more per unit/s of speed. speed_hz: cutoff of the speed itself."""

    rest_hz: float
    gain: float
    speed_hz: float = 1.0


ALIGNMENT_GAINS = OneEuroGains(rest_hz=0.25, gain=0.02)
LANDMARK_GAINS = OneEuroGains(rest_hz=3.0, gain=0.05)


def _blend(cutoff_hz: float, dt_s: float) -> float:
    """Weight of a new sample in first-order low-pass filtering."""
    turn = 2.0 * math.pi * cutoff_hz * dt_s
    return turn / (turn + 1.0)


class OneEuro:
    """One-Euro filter of a vector or an array of points whose last axis is the space it moves in.

    `shared`: one speed for the whole array (its root mean square), so that its parts stay together; otherwise
    each point has its own.
    """

    def __init__(self, gains: OneEuroGains, shared: bool) -> None:
        self._gains = gains
        self._shared = shared
        self._value: Vector | None = None
        self._speed: Vector | None = None

    def __call__(self, value: Vector, dt_s: float) -> Vector:
        """The filtered value; dt_s > 0 is the time since the previous one."""
        if self._value is None or self._speed is None:
            self._value, self._speed = value.copy(), np.zeros_like(value)
            return value
        speed = (value - self._value) / dt_s
        self._speed = self._speed + _blend(self._gains.speed_hz, dt_s) * (speed - self._speed)
        cutoff = self._gains.rest_hz + self._gains.gain * self._pace(self._speed)
        turn = 2.0 * math.pi * cutoff * dt_s
        self._value = self._value + turn / (turn + 1.0) * (value - self._value)
        return self._value

    def _pace(self, speed: Vector) -> Vector:
        if self._shared:
            return np.asarray(np.sqrt(np.square(speed).sum()))
        return np.asarray(np.sqrt(np.square(speed).sum(axis=-1, keepdims=True)))


def _to_parameters(to_face: Vector, size: float) -> Vector:
    """[4]: centre x and y, turn and log-scale of an alignment, all in face pixels at scale `size`."""
    centre = transform(_CENTRE_PX, invert(to_face)).astype(np.float64)[0]
    turn = math.atan2(to_face[1, 0], to_face[0, 0])
    scale = math.log(math.hypot(to_face[0, 0], to_face[1, 0]))
    return np.array([centre[0] * size, centre[1] * size, turn * _RIM_PX, scale * _RIM_PX])


def _to_alignment(parameters: Vector, size: float) -> Vector:
    """The alignment [2, 3] of `_to_parameters`' result."""
    scale, turn = math.exp(parameters[3] / _RIM_PX), parameters[2] / _RIM_PX
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return np.column_stack([linear, _CENTRE_PX[0] - linear @ (parameters[:2] / size)])


class SmoothAlignment:
    """One followed face's alignment and its landmarks in face pixels: steady at rest, prompt in motion."""

    def __init__(self) -> None:
        self._alignment = OneEuro(ALIGNMENT_GAINS, shared=True)
        self._landmarks = OneEuro(LANDMARK_GAINS, shared=False)
        self._size: float | None = None
        self._turns = 0.0
        self._last_turn: float | None = None

    def __call__(
        self, landmarks_px: npt.NDArray[np.float32], dt_s: float
    ) -> tuple[Vector, npt.NDArray[np.float32]]:
        """(alignment float64 [2, 3] frame to face pixels, landmarks float32 [468, 2] in face pixels)."""
        raw = alignment(landmarks_px)
        if self._size is None:
            self._size = math.hypot(raw[0, 0], raw[1, 0])
        parameters = _to_parameters(raw, self._size)
        parameters[2] += self._unwrapped(parameters[2])
        smooth = _to_alignment(self._alignment(parameters, dt_s), self._size)
        inside = transform(landmarks_px, smooth).astype(np.float64)
        return smooth, self._landmarks(inside, dt_s).astype(np.float32)

    def _unwrapped(self, turn: float) -> float:
        """What to add so that the turn does not jump at half a circle."""
        circle = 2.0 * math.pi * _RIM_PX
        if self._last_turn is not None:
            self._turns -= circle * round((turn - self._last_turn) / circle)
        self._last_turn = turn
        return self._turns
