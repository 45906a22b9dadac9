"""What the figures are held against: the one place where a target is written down."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Budget:
    """One target. figure: its key in a bench's figures; meaning: for people; relation: how the value must
    stand to the bound; unit: of both."""

    figure: str
    meaning: str
    relation: str
    bound: float
    unit: str = ""

    def met(self, value: float) -> bool:
        """Whether the value reaches the target; a value that is not a number never does."""
        return not math.isnan(value) and _COMPARE[self.relation](value, self.bound)


@dataclass(frozen=True)
class Verdict:
    """A budget with what was measured; value is None and met is None where nothing was measured."""

    budget: Budget
    value: float | None
    met: bool | None


# By Monk group (bench.summary.tone_gaps).
_TONES = (
    Budget("tone_light", "dL* of clean skin, either way, of any tone", "<=", 0.3),
    Budget("tone_hue", "dhue of clean skin, either way, of any tone", "<=", 0.5, "degrees"),
)
_FAIR = (*_TONES, Budget("tone_removal", "removal from the least to the most of a tone", "<=", 0.1))
QUALITY = (
    Budget("gain_db", "gain on held-out subjects in motion", ">=", 6.0, "dB"),
    Budget("gain_min_db", "gain of the worst clip", ">=", 1.0, "dB"),
    Budget("removal", "removal inside the imperfections", ">=", 0.75),
    Budget("drift", "drift on clean skin", "<=", 0.3, "levels"),
    Budget("bytes_outside_head", "bytes changed outside the head", "==", 0.0),
    Budget("bytes_at_strength_0", "bytes changed at strength 0", "==", 0.0),
    Budget("identity_kept", "moles and freckles kept", ">=", 0.9),
    Budget("flicker", "flicker of out - target over the face", "<=", 0.25, "levels"),
    *_FAIR,
)
# Judged by the second generator or with real marks, and on faces with nothing painted.
SECOND = (
    Budget("gain_db", "gain on held-out subjects in motion", ">=", 8.0, "dB"),
    Budget("gain_min_db", "gain of the worst clip", ">=", 2.0, "dB"),
    Budget("removal", "removal inside the imperfections", ">=", 0.85),
    Budget("drift", "drift on clean skin", "<=", 0.15, "levels"),
    Budget("flicker", "flicker of out - target over the face", "<=", 0.12, "levels"),
    Budget("identity_kept", "moles and freckles kept", ">=", 0.97),
    Budget("soft_iou", "Soft-IoU of the map", ">=", 0.70),
    Budget("map_ssim", "SSIM of the map", ">=", 0.80),
    Budget("moved_max_px", "landmarks moved, mean of the worst clip", "<=", 0.3, "px"),
    *_FAIR,
)
UNPAINTED = (
    Budget("false_alarm", "clean skin changed by more than 2 levels, share", "<=", 0.005),
    Budget("drift", "drift on clean skin", "<=", 0.15, "levels"),
    Budget("moved_max_px", "landmarks moved, mean of the worst clip", "<=", 0.3, "px"),
    *_TONES,
)
LATENCY = (
    Budget("step_p50_ms", "network step, two threads, p50", "<=", 15.0, "ms"),
    Budget("step_p99_ms", "network step, two threads, p99", "<=", 20.0, "ms"),
    Budget("file_fps", "vretouch file, 1280x720, one face, all included", ">=", 30.0, "frames/s"),
    Budget("delta_cost", "cost of delta = 6 against delta = 1", "<=", 1.1, "x"),
    Budget("peak_rss_mb", "memory of vretouch file, peak", "<=", 700.0, "MB"),
    Budget("rss_slope_mb_per_min", "growth of that memory", "<=", 1.0, "MB/min"),
)
# By device class and preset, for `python -m bench latency --device`.
_FRAME = "frame to frame at 1080p, one face"
_ON_GPU = (
    Budget("delta_cost", "cost of delta = 6 against delta = 1", "<=", 1.05, "x"),
    Budget("launches", "launches of a step", "<=", 1.0),
    Budget("host_syncs", "waits of the host inside a step", "<=", 0.0),
    Budget("precision_levels", "against single precision, anywhere", "<=", 1.0, "levels"),
    Budget("gain_lost_db", "gain lost against single precision", "<=", 0.05, "dB"),
)
_ROOFLINE = Budget("roofline_share", "share of the roofline that a step reaches", ">=", 0.4)
DEVICE: dict[tuple[str, str], tuple[Budget, ...]] = {
    ("cpu", "live"): tuple(b for b in LATENCY if b.figure in ("step_p50_ms", "step_p99_ms", "delta_cost")),
    ("consumer", "live"): (Budget("frame_1080p_1_fps", _FRAME, ">=", 400.0, "frames/s"), *_ON_GPU),
    ("consumer", "studio"): (
        Budget("frame_1080p_1_fps", _FRAME, ">=", 200.0, "frames/s"),
        _ROOFLINE,
        *_ON_GPU,
    ),
    ("data-centre", "live"): (Budget("frame_1080p_1_p99_ms", f"{_FRAME}, p99", "<=", 1.0, "ms"), *_ON_GPU),
    ("data-centre", "studio"): (
        Budget("frame_1080p_1_p99_ms", f"{_FRAME}, p99", "<=", 2.5, "ms"),
        _ROOFLINE,
        *_ON_GPU,
    ),
}
# By preset, for `--project rtx3090` from a GPU of another class.
PROJECTED = {
    "live": (Budget("projected_1080p_1_fps", f"{_FRAME}, projected", ">=", 400.0, "frames/s"),),
    "studio": (Budget("projected_1080p_1_fps", f"{_FRAME}, projected", ">=", 200.0, "frames/s"),),
}
KERNELS = tuple(
    budget
    for name, what in (
        ("crop", "crop of a 4K face"),
        ("warp", "warp of a 4K picture"),
        ("paste", "paste at 4K"),
    )
    for budget in (
        Budget(f"{name}_copy_share", f"{what}, share of the copy bandwidth", ">=", 0.7),
        Budget(f"{name}_speedup", f"{what}, to plain torch with grid_sample", ">=", 2.0, "x"),
    )
)
GLASS = (
    Budget("relay_640x480_fps", "relay 640x480, retouched, in Chromium", ">=", 28.0, "frames/s"),
    Budget("relay_640x480_ratio", "its delay, glass to glass, to a plain echo's", "<=", 1.6, "x"),
    Budget("relay_640x480_filter_p95_ms", "of that added by the relay, p95", "<=", 33.0, "ms"),
    Budget("relay_640x480_growth", "growth of that delay", "<=", 3.0, "ms/min"),
    Budget("relay_1280x720_growth", "growth of the delay at 1280x720", "<=", 3.0, "ms/min"),
)
SOAK = (
    Budget("delay_growth", "growth of the delay in the relay", "<=", 3.0, "ms/min"),
    Budget("memory_growth", "growth of the relay's memory", "<=", 1.0, "MB/min"),
    Budget("files_growth", "open files more at the end", "<=", 0.0),
    Budget("threads_growth", "threads more at the end", "<=", 0.0),
    Budget("waited_p95_ms", "longest wait in a queue, p95", "<=", 33.4, "ms"),
    Budget("lost_in_flood", "a good publisher's frames lost in a flood of bad offers", "<=", 0.0),
)
VISITS = (
    Budget("files_growth", "open files more after the visits", "<=", 0.0),
    Budget("threads_growth", "threads more after the visits", "<=", 0.0),
    Budget("sessions_left", "sessions that stay", "<=", 0.0),
    Budget("memory_share_growth", "memory more after the visits, share", "<=", 0.05),
)
# What nobody notices (ITU-R BT.1359, figure 2).
SYNC = (
    Budget("sound_early_ms", "sound before its picture at a viewer", "<=", 45.0, "ms"),
    Budget("sound_late_ms", "sound after its picture at a viewer", "<=", 125.0, "ms"),
)
FANOUT = (
    Budget("vp8_1280x720_viewers_per_core", "viewers per core, 1280x720, VP8", ">=", 8.0),
    Budget("h264_1280x720_viewers_per_core", "viewers per core, 1280x720, H.264", ">=", 8.0),
    Budget("vp8_1280x720_waited_p95_ms", "a packet's wait for its viewer, p95, VP8", "<=", 33.4, "ms"),
    Budget("h264_1280x720_waited_p95_ms", "a packet's wait for its viewer, p95, H.264", "<=", 33.4, "ms"),
)


def judge(budgets: tuple[Budget, ...], figures: Mapping[str, float | None]) -> list[Verdict]:
    """Every budget with its figure; a figure that is missing or None was not measured."""
    verdicts = []
    for budget in budgets:
        value = figures.get(budget.figure)
        verdicts.append(Verdict(budget, value, None if value is None else budget.met(value)))
    return verdicts
