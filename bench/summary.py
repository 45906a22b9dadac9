"""Many clips' figures as one: over all of them, by skin tone, and how far apart the tones are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields

from bench.judge import ClipFigures

_MEANS = tuple(
    f.name
    for f in fields(ClipFigures)
    if f.name not in ("clip", "monk", "kept", "marks", "bytes_outside_head")
)
_MONK_GROUPS = (("Monk 1-3", range(1, 4)), ("Monk 4-6", range(4, 7)), ("Monk 7-10", range(7, 11)))
TONE_FIGURES = {
    "gain_db": "gain, dB",
    "removal": "removal",
    "drift": "drift",
    "false_alarm": "changed",
    "flicker": "flicker",
    "soft_iou": "Soft-IoU",
    "d_light": "dL*",
    "d_hue": "dhue",
    "moved_px": "moved, px",
    "identity_kept": "kept",
    "marks": "of",
}


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are numbers; nan if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def summary(clips: Sequence[ClipFigures]) -> dict[str, float]:
    """One method's figures over all clips: means of clips, the worst gain, marks kept of all marks, bytes
    in all."""
    result = {name: mean(getattr(clip, name) for clip in clips) for name in _MEANS}
    gains = [clip.gain_db for clip in clips if not math.isnan(clip.gain_db)]
    marks = sum(clip.marks for clip in clips)
    result["gain_min_db"] = min(gains, default=math.nan)
    moved = [clip.moved_px for clip in clips if not math.isnan(clip.moved_px)]
    result["moved_max_px"] = max(moved, default=math.nan)
    result["identity_kept"] = sum(clip.kept for clip in clips) / marks if marks else math.nan
    result["marks"] = float(marks)
    result["bytes_outside_head"] = float(sum(clip.bytes_outside_head for clip in clips))
    return result


def by_tone(clips: Sequence[ClipFigures]) -> dict[str, dict[str, float]]:
    """Figures by Monk group: how many clips, and those of `TONE_FIGURES` over them."""
    groups: dict[str, dict[str, float]] = {}
    for name, tones in _MONK_GROUPS:
        members = [clip for clip in clips if clip.monk in tones]
        figures = summary(members)
        groups[name] = {"clips": float(len(members)), **{key: figures[key] for key in TONE_FIGURES}}
    return groups


def tone_gaps(groups: dict[str, dict[str, float]]) -> dict[str, float]:
    """How far apart the groups of `by_tone` are: `tone_light` and `tone_hue`, the largest dL* and dhue of
    any, either way; `tone_removal`, by what part the least removal is below the most (nan: fewer than two
    groups, or nothing removed)."""

    def all_of(key: str) -> list[float]:
        return [group[key] for group in groups.values() if not math.isnan(group[key])]

    removed = all_of("removal")
    apart = len(removed) > 1 and max(removed) > 0.0
    return {
        "tone_light": max(map(abs, all_of("d_light")), default=math.nan),
        "tone_hue": max(map(abs, all_of("d_hue")), default=math.nan),
        "tone_removal": 1.0 - min(removed) / max(removed) if apart else math.nan,
    }
