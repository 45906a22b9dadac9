"""The frame-time budget: a ladder of efforts, and the governor that goes down it under load and up again."""

from __future__ import annotations

from dataclasses import dataclass

FULL_LOAD = 0.92
# Retouched at two thirds of the rate is better than at the full rate not retouched at all.
LAST_LOAD = 1.5
ROOM_TO_CLIMB = 0.75
NOTICE_S = 0.2
NOTICE_FRAMES = 3
NOTICE_BY_S = 0.5
WARM_UP_FRAMES = 3
CLIMB_AFTER_S = 3.0
CLIMB_AFTER_MOST_S = 60.0
SMOOTHING = 0.25


@dataclass(frozen=True)
class Effort:
    """How much is done for a frame.

    find_every: the face mesh looks at every n-th frame, in between faces are carried on by optical flow.
    step_every: the network sees every n-th frame; above 1 no frame waits for it: it runs beside them, and its
    last residual and map are carried on with the face. retouch: False lets frames pass.
    """

    name: str
    find_every: int = 1
    step_every: int = 1
    retouch: bool = True


LADDER = (
    Effort("full"),
    Effort("faces found on every 2nd frame", find_every=2),
    Effort("network on every 2nd frame", find_every=2, step_every=2),
    Effort("network on every 3rd frame", find_every=3, step_every=3),
    Effort("network on every 6th frame", find_every=3, step_every=6),
    Effort("pass-through", retouch=False),
)


@dataclass(frozen=True)
class Cost:
    """Time of one frame in ms.

    busy: all that it waited for. find, step: what finding the faces and stepping all of them takes, waited
    for or not; None where it was spared. rest: all else that it waited for.
    """

    busy: float
    find: float | None
    step: float | None
    rest: float


class Governor:
    """Chooses a step of LADDER from what frames cost. Reads no clock: it is told the interval of frames.

    It goes down as soon as frames are expected, from those of the last NOTICE_S (NOTICE_FRAMES of them at
    least, unless they take longer than NOTICE_BY_S), to take more than FULL_LOAD of their time, to the first
    step that is expected to fit; up by one when the step above is expected to fit with room to spare for
    CLIMB_AFTER_S, which doubles each time a climb did not last, and is short again after one that did.
    """

    def __init__(self) -> None:
        self.level = 0
        self._find_ms = self._step_ms = self._rest_ms = 0.0
        self._passed_s = 0.0
        self._frames = -WARM_UP_FRAMES
        self._calm_s = 0.0
        self._patience_s = CLIMB_AFTER_S
        self._since_climb_s = CLIMB_AFTER_MOST_S
        self._climbed = False

    @property
    def effort(self) -> Effort:
        """What the present level asks for."""
        return LADDER[self.level]

    def observe(self, cost: Cost, interval_s: float) -> None:
        """A frame was done at this cost; frames come interval_s apart."""
        self._frames += 1
        if self._frames <= 0:
            return
        self._learn(cost)
        self._passed_s += max(cost.busy / 1e3, interval_s)
        if self._passed_s < (NOTICE_S if self._frames >= NOTICE_FRAMES else NOTICE_BY_S):
            return
        passed_s, self._passed_s, self._frames = self._passed_s, 0.0, 0
        self._since_climb_s += passed_s
        if self._since_climb_s > 2.0 * self._patience_s:
            self._patience_s = CLIMB_AFTER_S
        # What frames took would depend on how many of the dear ones fell into the last tenths of a second.
        if self._bears(self.level, interval_s):
            self._go_up(interval_s, passed_s)
        else:
            self._go_down(interval_s)

    def _learn(self, cost: Cost) -> None:
        self._find_ms = _blend(self._find_ms, cost.find)
        self._step_ms = _blend(self._step_ms, cost.step)
        if self.effort.retouch:
            self._rest_ms = _blend(self._rest_ms, cost.rest)

    def _expected(self, level: int, interval_s: float) -> float:
        """Share of the interval that a frame is expected to take on that level."""
        effort = LADDER[level]
        if not effort.retouch:
            return 0.0
        own_ms, step_ms = self._find_ms / effort.find_every + self._rest_ms, self._step_ms / effort.step_every
        if effort.step_every > 1:
            return max(own_ms, step_ms) / 1e3 / interval_s
        # A frame that takes longer than its interval is late, however short the next one is.
        longest_ms = self._find_ms + self._rest_ms + self._step_ms
        return max(own_ms + step_ms, FULL_LOAD * longest_ms) / 1e3 / interval_s

    def _bears(self, level: int, interval_s: float) -> bool:
        """Whether the stream can stay on that level."""
        last = not LADDER[min(level + 1, len(LADDER) - 1)].retouch
        return self._expected(level, interval_s) <= (LAST_LOAD if last else FULL_LOAD)

    def _go_down(self, interval_s: float) -> None:
        self._calm_s, self._climbed = 0.0, False
        if self.level == len(LADDER) - 1:
            return
        if self._since_climb_s < self._patience_s:
            self._patience_s = min(2.0 * self._patience_s, CLIMB_AFTER_MOST_S)
        below = range(self.level + 1, len(LADDER))
        self.level = next(level for level in below if self._bears(level, interval_s))

    def _go_up(self, interval_s: float, passed_s: float) -> None:
        fits = self.level > 0 and self._expected(self.level - 1, interval_s) <= ROOM_TO_CLIMB
        # Nothing is measured while frames pass, so that the step above is tried for what it is.
        if self.level == 0 or not (fits or not self.effort.retouch):
            self._calm_s = 0.0
            return
        self._calm_s += passed_s
        if self._calm_s >= self._patience_s:
            self._climb()

    def _climb(self) -> None:
        if self._climbed:
            self._patience_s = CLIMB_AFTER_S
        if not self.effort.retouch:
            # What frames took before they were let pass says nothing of what they would take now.
            self._find_ms = self._step_ms = self._rest_ms = 0.0
        self.level -= 1
        self._calm_s = self._since_climb_s = 0.0
        self._climbed = True


def _blend(before: float, now: float | None) -> float:
    """An exponential mean that begins with the first value."""
    if now is None:
        return before
    return now if before == 0.0 else before + SMOOTHING * (now - before)
