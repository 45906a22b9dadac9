"""A live source's sound for one encoder: frames follow one another, whatever their times and kind do."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av

AUDIO_RATE = 48_000
AUDIO_KBPS = 160
# Clocks of milliseconds make sound shake; that much is no gap.
SHAKE_S = 0.05


class EvenSound:
    """For `out`, a container's stereo stream of AUDIO_RATE. resampler: what may still hold samples back."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._heard: tuple[str, str, int] | None = None
        self._next_s: float | None = None
        self.resampler = self._new_resampler()

    def frames(self, frame: Any, at_s: float) -> Sequence[Any]:
        """What is to be encoded of an av.AudioFrame whose first sample stands at at_s seconds of the output;
        what comes before its beginning, or before the end of what was given, is left out."""
        if at_s < 0.0:
            return ()
        heard = (frame.format.name, frame.layout.name, frame.sample_rate)
        if heard != self._heard:
            self._heard, self.resampler = heard, self._new_resampler()
        if self._next_s is not None:
            if abs(at_s - self._next_s) < SHAKE_S:
                at_s = self._next_s
            if at_s < self._next_s:
                # It overlaps what was given; a slow clock so loses a frame now and then and is even again.
                return ()
        self._next_s = at_s + frame.samples / frame.sample_rate
        frame.pts, frame.time_base = round(at_s * frame.sample_rate), Fraction(1, frame.sample_rate)
        return list(self.resampler.resample(frame))

    def _new_resampler(self) -> Any:
        return av.AudioResampler(self._out.codec_context.format, self._out.layout, AUDIO_RATE)
