"""What is kept of a person: each trait is guarded where it is, where it was asked for, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from stream.arguments import traits as parsed
from stream.cli import main
from stream.compare import TRAIT_RGB, map_view
from stream.crop import FACE_PX, alignment, transform
from stream.engine import Seen
from stream.errors import OptionError
from stream.keep import DEFAULT, FRECKLES, LINES, MOLES, TEXTURE, TRAITS
from stream.retoucher import Retoucher
from stream.traits import SHOWN, SPOTS, coarse, lines_of, shares_of, spared
from tests.conftest import require
from tests.stream.fakes import FakeEngine, FakeFinder, FakeState, face_at, noise_frame
from tests.stream.media import FakeRetoucher, drawn

FACE = face_at(256, 256)
SKIN = np.full((FACE_PX, FACE_PX), 255, np.uint8)
PLAIN = np.full((FACE_PX, FACE_PX, 3), (200, 160, 140), np.uint8)
LANDMARKS = transform(FACE, alignment(FACE)).astype(int)
MOLE_AT, FRECKLE_AT, MARK_AT = (tuple(LANDMARKS[k].tolist()) for k in (50, 280, 199))  # cheeks and chin


def seen_at(*spots: tuple[int, tuple[int, int]]) -> np.ndarray:
    """float32 [2, 128, 128]: certain within four cells of each (class, (x, y) in face px)."""
    kept = np.zeros((2, 128, 128), np.float32)
    for number, (x, y) in spots:
        kept[number, y // 4 - 2 : y // 4 + 3, x // 4 - 2 : x // 4 + 3] = 1.0
    return kept


KEPT = seen_at((0, MOLE_AT), (1, FRECKLE_AT))


def at(picture: np.ndarray, place: tuple[int, int]) -> float:
    return float(picture[place[1] * len(picture) // FACE_PX, place[0] * len(picture) // FACE_PX])


def creased(angle: float, width_px: int = 3) -> np.ndarray:
    """Skin with a crease of 120 px through the middle, softened."""
    face = PLAIN.copy()
    reach = np.rint(60 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    ends = [tuple(int(v) for v in np.array([256, 256]) + sign * reach) for sign in (-1, 1)]
    cv2.line(face, ends[0], ends[1], (160, 120, 100), width_px)
    return cv2.GaussianBlur(face, (0, 0), 1.5)


@pytest.mark.parametrize("angle", np.linspace(0.0, np.pi, 9)[:-1])
def test_a_crease_is_a_line_whichever_way_it_runs(angle: float) -> None:
    lines = lines_of(creased(float(angle)))
    assert at(lines, (256, 256)) > 0.8
    away = lines.copy()
    away[90:166, 90:166] = 0.0
    assert float(away.max()) == 0.0


@pytest.mark.parametrize("radius", [3, 6, 10, 16])
def test_a_spot_is_no_line(radius: int) -> None:
    face = PLAIN.copy()
    cv2.circle(face, (256, 256), radius, (170, 110, 100), -1)
    assert float(lines_of(cv2.GaussianBlur(face, (0, 0), 1.5)).max()) < 0.1


def test_noise_and_plain_skin_have_no_lines() -> None:
    noisy = np.clip(PLAIN + np.random.default_rng(0).normal(0.0, 3.0, PLAIN.shape), 0, 255).astype(np.uint8)
    assert float(lines_of(PLAIN).max()) == 0.0
    assert float(lines_of(noisy).mean()) < 0.002


def test_only_what_was_asked_for_is_kept() -> None:
    guard = np.full((FACE_PX, FACE_PX), 200, np.uint8)
    for keep, mole, freckle in (
        ({MOLES}, 0, 200),
        ({FRECKLES}, 200, 0),
        ({MOLES, FRECKLES}, 0, 0),
        ({LINES}, 200, 200),
    ):
        left = spared(guard, shares_of(KEPT, PLAIN, frozenset(keep), SKIN))
        assert abs(at(left, MOLE_AT) - mole) <= 1
        assert abs(at(left, FRECKLE_AT) - freckle) <= 1
        assert left[100, 100] == 200
    through = shares_of(None, creased(0.3), frozenset({MOLES, LINES}), SKIN)
    assert float(through[:2].max()) == 0.0
    assert at(spared(guard, through), (256, 256)) < 40


def test_what_the_network_is_unsure_of_is_not_guarded() -> None:
    unsure = shares_of(0.015 * KEPT, PLAIN, frozenset(TRAITS), SKIN)
    assert float(unsure.max()) == 0.0


def test_off_the_skin_nothing_is_kept() -> None:
    hair = np.where(np.arange(FACE_PX)[:, None] < 256, SKIN, 0).astype(np.uint8)
    found = shares_of(KEPT, creased(np.pi / 2), frozenset(TRAITS), hair)
    assert float(found[:, :126].max()) == 1.0
    assert float(found[:, 130:].max()) == 0.0


def test_a_spot_that_blinks_is_kept_steadily() -> None:
    class Blinking(Marked):
        """Sees the mole in every second frame."""

        def step(self, face_rgb_u8: np.ndarray, state: FakeState) -> Seen:  # type: ignore[override]
            state.steps += 1
            return super().step(face_rgb_u8, state)._replace(kept=KEPT * np.float32(state.steps % 2))

    with Retoucher(engine=Blinking(), finder=FakeFinder(FACE)) as retoucher:
        levels = []
        for _ in range(24):
            retoucher.process(noise_frame(512, 512))
            traits = retoucher.last.faces[0].traits
            assert traits is not None
            levels.append(at(traits[0], MOLE_AT))
    assert max(np.abs(np.diff(levels[8:]))) < 0.7  # 1 without a memory


def test_texture_is_what_is_fine() -> None:
    fine = np.zeros((FACE_PX, FACE_PX, 3), np.float32)
    fine[::2, ::2] = 8.0
    assert float(np.abs(coarse(fine)[8:-8, 8:-8] - 2.0).max()) < 0.05
    broad = cv2.GaussianBlur(np.pad(np.full((200, 200), 9.0, np.float32), 156), (0, 0), 12.0)
    broad = np.repeat(broad[..., None], 3, axis=2)
    assert float(np.abs(coarse(broad) - broad).max()) < 0.25
    assert coarse(broad.transpose(2, 0, 1).copy().transpose(1, 2, 0)).shape == broad.shape


class Marked(FakeEngine):
    """Takes a mark, a mole and a freckle away, the latter two of which its localizer knows."""

    def step(self, face_rgb_u8: np.ndarray, state: object) -> Seen:  # type: ignore[override]
        change = np.zeros((FACE_PX, FACE_PX, 3), np.float32)
        for x, y in (MOLE_AT, FRECKLE_AT, MARK_AT):
            change[y - 6 : y + 7, x - 6 : x + 7] = 20.0
        return Seen(change, np.asarray(change.max(-1) > 0, np.float32), KEPT)


def changed_px(keep: object) -> tuple[int, np.ndarray | None]:
    frame = noise_frame(512, 512)
    with Retoucher(engine=Marked(), finder=FakeFinder(FACE), keep=keep) as retoucher:  # type: ignore[arg-type]
        for _ in range(12):
            out = retoucher.process(frame)
        return int((out != frame).any(-1).sum()), retoucher.last.faces[0].traits


def test_the_retoucher_keeps_what_it_was_asked_to() -> None:
    everything, none_shown = changed_px(())
    assert none_shown is None
    moles, shown = changed_px({MOLES})
    assert shown is not None
    assert shown.shape == (len(SHOWN), FACE_PX // 2, FACE_PX // 2)
    both, _ = changed_px({MOLES, FRECKLES})
    assert 0.25 * everything < both < 0.45 * everything < 0.55 * everything < moles < 0.75 * everything
    soft, none_shown = changed_px({TEXTURE})
    assert none_shown is None
    assert soft > everything  # the same, spread


def test_moles_are_kept_by_default() -> None:
    with Retoucher(engine=Marked(), finder=FakeFinder(FACE)) as retoucher:
        assert retoucher.keep == DEFAULT == {MOLES}
        retoucher.keep = ["lines"]
        assert retoucher.keep == {LINES}


@pytest.mark.parametrize("wrong", ["moles", ["rash"], {"moles", "shine"}, None, [["lines"]]])
def test_unknown_traits_are_refused_in_a_sentence(wrong: object) -> None:
    with pytest.raises(OptionError, match="keep must be some of moles, freckles, lines, texture"):
        Retoucher(engine=FakeEngine(), finder=FakeFinder(), keep=wrong)  # type: ignore[arg-type]


def test_an_engine_that_knows_no_traits_is_one_still() -> None:
    frame = noise_frame(512, 512)
    with Retoucher(engine=FakeEngine(), finder=FakeFinder(FACE), keep=SPOTS) as retoucher:
        assert (retoucher.process(frame) != frame).any()
        traits = retoucher.last.faces[0].traits
        assert traits is not None
        assert not traits.any()


def test_the_classes_are_those_of_the_network_in_its_order() -> None:
    require("torch")
    from model.config import KEPT as CLASSES

    assert CLASSES == SPOTS


def test_the_option_takes_lists_none_and_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed("lines, MOLES,") == {LINES, MOLES}
    assert parsed("none") == set()
    assert parsed("all") == set(TRAITS)
    with pytest.raises(SystemExit):
        main(["file", "in.png", "out.png", "--keep", "shine"])
    assert "'shine' is no list of moles, freckles, lines, texture" in capsys.readouterr().err


@pytest.mark.parametrize("number", range(3))
def test_the_map_shows_each_trait_in_its_own_colour(number: int) -> None:
    raw = drawn(0, 80, 60)
    retoucher = FakeRetoucher(60)
    retouched = retoucher.process(raw)
    shares = np.zeros((3, 64, 64), np.float32)
    shares[number] = 1.0
    (face,) = retoucher.last.faces
    shown, hidden = (
        map_view(retouched, [replace(face, traits=traits)])[30, 30].astype(int) for traits in (shares, None)
    )
    assert np.abs(shown - hidden).max() > 40
    assert np.abs(shown - TRAIT_RGB[number]).max() < 60
