"""Views: sizes, which half is which, and where the map glows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from stream.cli import main
from stream.compare import DIVIDER_PX, compose, map_view, view_size
from tests.stream.media import PATCH, Clip, FakeRetoucher, drawn, make_video


def raw_and_retouched(width: int = 80, height: int = 60):
    raw = drawn(0, width, height)
    retoucher = FakeRetoucher(60)
    return raw, retoucher.process(raw), retoucher.last.faces


@pytest.mark.parametrize("view", ["side", "split", "map"])
@pytest.mark.parametrize("size", [(80, 60), (81, 61), (17, 16)])
def test_views_have_the_size_that_was_promised_and_it_is_even(view, size):
    raw = drawn(0, *size)
    picture = compose(view, raw, raw, (), changed=False)
    assert (picture.shape[1], picture.shape[0]) == view_size(view, *size)
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    assert picture.dtype == np.uint8


def test_side_shows_raw_left_and_retouched_right():
    raw, retouched, faces = raw_and_retouched()
    picture = compose("side", raw, retouched, faces, changed=True)
    assert np.array_equal(picture[:, :80], raw)
    assert np.array_equal(picture[:, 80 + DIVIDER_PX :], retouched)
    assert np.all(picture[:, 80 : 80 + DIVIDER_PX] == 255)


def test_split_shows_raw_left_of_the_middle():
    raw, _, faces = raw_and_retouched()
    retouched = raw + np.uint8(20)
    picture = compose("split", raw, retouched, faces, changed=True)
    assert np.array_equal(picture[:, :39], raw[:, :39])
    assert np.array_equal(picture[:, 41:], retouched[:, 41:])


def test_large_pictures_carry_captions_and_inputs_stay_as_they_were():
    raw = drawn(0, 400, 300)
    kept = raw.copy()
    picture = compose("side", raw, raw, (), changed=False)
    assert not np.array_equal(picture[:, :400], raw)
    assert np.array_equal(picture[:200, :400], raw[:200])
    assert np.array_equal(raw, kept)


@pytest.fixture
def captions(monkeypatch) -> list[str]:
    """The words of all captions that are written."""
    written: list[str] = []
    write = cv2.putText

    def noted(picture, words, *how):
        written.append(words)
        return write(picture, words, *how)

    monkeypatch.setattr(cv2, "putText", noted)
    return written


@pytest.mark.parametrize("view", ["side", "split"])
def test_captions_say_whether_the_frame_was_retouched(view, captions):
    raw = drawn(0, 400, 300)
    compose(view, raw, raw, (), changed=True)
    compose(view, raw, raw, (), changed=False)
    assert captions == ["raw", "retouched", "raw", "passed through"]


def test_words_that_would_be_cut_off_are_left_out(captions):
    raw = drawn(0, 1920, 1080)
    compose("split", raw, raw, (), changed=False, split_at=1.0 - 240 / 1920)
    assert captions == ["raw"]
    compose("split", raw, raw, (), changed=True, split_at=1.0 - 240 / 1920)
    assert captions == ["raw", "raw", "retouched"]


@pytest.mark.parametrize(("levels", "said"), [(40, "retouched"), (0, "passed through")])
@pytest.mark.parametrize("command", ["video", "image", "demo"])
def test_each_command_says_what_was_done(command, levels, said, captions, tmp_path):
    image, video = tmp_path / "in.png", tmp_path / "in.mp4"
    Image.fromarray(drawn(0, 320, 240)).save(image)
    make_video(video, Clip(width=320, height=240, frames=3))
    words = {
        "video": ["file", video, tmp_path / "out.mp4", "--compare", "split"],
        "image": ["file", image, tmp_path / "out.png", "--compare", "side"],
        "demo": ["demo", video, "--out", tmp_path / "demo"],
    }[command]
    assert main([str(word) for word in words], lambda: FakeRetoucher(levels)) == 0
    assert {"retouched", "passed through"} & set(captions) == {said}


def test_the_map_glows_on_the_patch_alone():
    _, retouched, faces = raw_and_retouched()
    picture = map_view(retouched, faces).astype(int)
    x0, y0, x1, y1 = PATCH
    assert np.all(picture[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] > 240)
    outside = np.ones(picture.shape[:2], bool)
    outside[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = False
    assert np.ptp(picture[outside], axis=-1).max() == 0
    assert picture[outside].max() < 128
