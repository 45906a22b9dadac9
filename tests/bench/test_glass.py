"""The bench of glass to glass: its barcode can be read back, its figures are those of known delays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.barcode import BAR_SHARE, BITS, FPS, FRAMES, write_clip
from bench.glass import delays, figures_of
from bench.report import BenchError


def number_of(rgb: np.ndarray) -> int:
    """What READ_JS reads, in Python."""
    height, width = rgb.shape[:2]
    row = rgb[int(height * BAR_SHARE / 2), :, 1]
    bits = [int(row[int((index + 0.5) * width / (2 * BITS))] > 128) for index in range(2 * BITS)]
    number, inverse = (int("".join(map(str, part)), 2) for part in (bits[:BITS], bits[BITS:]))
    assert number + inverse == 2**BITS - 1
    return number


def test_every_frame_of_the_clip_tells_its_number(tmp_path: Path) -> None:
    path = tmp_path / "camera.y4m"
    write_clip(path, (320, 240))
    with path.open("rb") as file:
        assert file.readline().startswith(b"YUV4MPEG2 W320 H240 F30:1")
        for number in range(FRAMES):
            assert file.readline() == b"FRAME\n"
            yuv = np.frombuffer(file.read(320 * 240 * 3 // 2), np.uint8).reshape(360, 320)
            if number % 37 == 0:
                assert number_of(cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420)) == number
        assert file.read() == b""


def shown(delay_ms: float, growth: float = 0.0, every: int = 1) -> dict[str, list[list[float]]]:
    """Twice round the clip; the result late by so much, and only each `every`-th frame of it."""
    own = [[float(index % FRAMES), 1000.0 * index / FPS, index] for index in range(2 * FRAMES)]
    late = [
        [n, t + delay_ms + growth * t / 60e3, index // every] for n, t, index in own if index % every == 0
    ]
    return {"self": own, "result": late}


def test_known_delays_are_found() -> None:
    figures = delays(shown(120.0))
    assert figures["p50_ms"] == pytest.approx(120.0)
    assert figures["p95_ms"] == pytest.approx(120.0)
    assert figures["fps"] == pytest.approx(FPS, rel=0.01)
    assert figures["growth_ms_per_min"] == pytest.approx(0.0, abs=1e-6)


def test_growth_and_a_lower_rate_are_found() -> None:
    figures = delays(shown(50.0, growth=30.0, every=2))
    assert figures["growth_ms_per_min"] == pytest.approx(30.0, rel=0.01)
    assert figures["fps"] == pytest.approx(FPS / 2, rel=0.01)


def test_frames_count_that_were_presented_while_the_page_was_busy_and_those_shown_twice_do_not() -> None:
    seen = shown(50.0)
    busy = [entry for index, entry in enumerate(seen["result"]) if index % 5]
    assert delays({**seen, "result": busy})["fps"] == pytest.approx(FPS, rel=0.01)
    twice = [
        [seen["result"][index - index % 2][0], *seen["result"][index][1:]] for index in range(2 * FRAMES)
    ]
    assert delays({**seen, "result": twice})["fps"] == pytest.approx(FPS / 2, rel=0.01)


def test_frames_without_a_number_are_left_out_and_a_dark_screen_is_said() -> None:
    seen = shown(80.0)
    seen["result"][5][0] = -1.0
    assert delays(seen)["p50_ms"] == pytest.approx(80.0)
    with pytest.raises(BenchError, match="no barcode"):
        delays({"self": seen["self"], "result": [[-1.0, float(at), at] for at in range(100)]})


def test_targets_are_held_against_the_echo_of_the_same_size() -> None:
    run = {"codec": "vp8", "fps": 29.0, "p50_ms": 90.0, "p95_ms": 95.0, "growth_ms_per_min": 0.5}
    runs = [
        {**run, "server": "echo", "size": "640x480", "p50_ms": 60.0},
        {**run, "server": "relay", "size": "640x480", "filter_p95_ms": 25.0},
    ]
    figures = figures_of(runs, 20.0)
    assert figures["relay_640x480_ratio"] == pytest.approx(1.5)
    assert figures["relay_640x480_growth"] is None
    assert figures_of(runs, 600.0)["relay_640x480_growth"] == 0.5
