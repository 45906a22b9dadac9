"""Broad kinds of imperfection: told apart by width, sign and place, and left where not asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream import cli, retoucher
from stream.arguments import broad_kinds
from stream.broad import BROAD_KINDS, REDNESS, SHINE, UNDER_THE_EYES
from stream.broadcast import broadcast
from stream.broadcast.broadcast import BroadcastJob
from stream.camera.command import job_of
from stream.cli import main
from stream.compare import KIND_RGB, map_view
from stream.crop import FACE_PX, alignment, transform
from stream.errors import OptionError
from stream.keep import LINES
from stream.kinds import shares_of, without
from stream.live.settings import Settings
from stream.relay import command as relay
from stream.relay.options import MediaOptions
from stream.retoucher import Retoucher
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame
from tests.stream.media import FakeRetoucher, drawn

FACE = face_at(256, 256)
LANDMARKS = transform(FACE, alignment(FACE)).astype(np.float32)
UNDER_RIGHT_EYE = tuple(int(v) for v in LANDMARKS[[111, 117, 118, 119]].mean(0))
CHEEK = (int(LANDMARKS[50, 0]), int(LANDMARKS[50, 1]) + 40)


def residual(at: tuple[int, int], half_px: int, levels: tuple[float, float, float]) -> np.ndarray:
    """float32 [512, 512, 3]: a square about `at` (x, y)."""
    picture = np.zeros((FACE_PX, FACE_PX, 3), np.float32)
    x, y = at
    picture[max(0, y - half_px) : y + half_px, max(0, x - half_px) : x + half_px] = levels
    return picture


def at(shares: np.ndarray, place: tuple[int, int]) -> dict[str, float]:
    return dict(zip(BROAD_KINDS, shares[:, place[1] // 2, place[0] // 2].tolist(), strict=True))


def test_a_mark_is_of_no_broad_kind() -> None:
    shares = shares_of(residual(CHEEK, 7, (2, 20, 18)), LANDMARKS)
    assert float(shares.max()) < 0.1


def test_what_is_broad_is_redness_or_shine_by_its_sign() -> None:
    red = at(shares_of(residual(CHEEK, 48, (-2, 9, 8)), LANDMARKS), CHEEK)
    assert red[REDNESS] > 0.9
    assert red[SHINE] == 0.0
    shine = at(shares_of(residual(CHEEK, 48, (-9, -9, -8)), LANDMARKS), CHEEK)
    assert shine[SHINE] > 0.9
    assert shine[REDNESS] == 0.0


def test_a_mark_on_redness_stays_a_mark() -> None:
    for half_px in (2, 4, 6):
        both = residual(CHEEK, 48, (0, 5, 5)) + residual(CHEEK, half_px, (2, 30, 30))
        middle, beside = (at(shares_of(both, LANDMARKS), p) for p in (CHEEK, (CHEEK[0] + 30, CHEEK[1])))
        assert middle[REDNESS] == pytest.approx(5 / 35, abs=0.02)  # the redness beneath it
        assert beside[REDNESS] > 0.9


def test_most_of_dense_acne_is_marks() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:FACE_PX, 0:FACE_PX]
    field = np.zeros((FACE_PX, FACE_PX))
    for px, py in np.array(CHEEK) + rng.normal(0.0, 25.0, (60, 2)):
        field = np.maximum(field, 30.0 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18.0))
    acne = (field[..., None] * (0.1, 1.0, 0.9)).astype(np.float32)
    small = field[::2, ::2]
    left = (1.0 - shares_of(acne, LANDMARKS).sum(0)) * small
    assert left.sum() > 0.8 * small.sum()


def test_shine_on_the_ridge_of_the_nose_is_shine() -> None:
    ridge = residual((256, 250), 60, (-9, -9, -8))
    ridge[:, :244] = ridge[:, 268:] = 0.0
    assert at(shares_of(ridge, LANDMARKS), (256, 250))[SHINE] > 0.9


def test_under_the_eyes_it_is_shadow() -> None:
    shares = shares_of(residual(UNDER_RIGHT_EYE, 40, (6, 8, 9)), LANDMARKS)
    found = at(shares, UNDER_RIGHT_EYE)
    assert found[UNDER_THE_EYES] > 0.7
    assert float(shares.sum(0).max()) <= 1.001
    bag = residual(UNDER_RIGHT_EYE, 40, (6, 8, 9))
    bag[: UNDER_RIGHT_EYE[1] - 10] = bag[UNDER_RIGHT_EYE[1] + 12 :] = 0.0
    assert at(shares_of(bag, LANDMARKS), UNDER_RIGHT_EYE)[UNDER_THE_EYES] > 0.5
    mark = at(shares_of(residual(UNDER_RIGHT_EYE, 8, (2, 20, 18)), LANDMARKS), UNDER_RIGHT_EYE)
    assert mark[UNDER_THE_EYES] < 0.1


def test_the_guard_is_lowered_for_what_was_not_asked_for() -> None:
    guard = np.full((FACE_PX, FACE_PX), 200, np.uint8)
    shares = shares_of(residual(CHEEK, 48, (0, 9, 8)), LANDMARKS)
    assert np.array_equal(without(guard, shares, frozenset(BROAD_KINDS)), guard)
    kept = without(guard, shares, frozenset({SHINE}))
    assert kept[CHEEK[1], CHEEK[0]] < 20
    assert kept[10, 10] == 200


class Broad(FakeEngine):
    """Takes redness from the cheek and a mark from the chin."""

    def step(self, face_rgb_u8: np.ndarray, state: object) -> tuple[np.ndarray, np.ndarray]:
        mark = (256, int(LANDMARKS[199, 1]))
        change = residual(CHEEK, 48, (0, 12, 12)) + residual(mark, 6, (0, 24, 24))
        return change, np.asarray(change.max(-1) > 0, np.float32)


def test_the_retoucher_leaves_what_was_not_asked_for() -> None:
    frame = noise_frame(512, 512)
    changed, maps = {}, {}
    for also in (BROAD_KINDS, (), (REDNESS,)):
        with Retoucher(engine=Broad(), finder=FakeFinder(FACE), also=also) as retoucher:
            for _ in range(12):
                out = retoucher.process(frame)
            changed[also] = int((out != frame).any(-1).sum())
            maps[also] = retoucher.last.faces[0].map
    assert changed[BROAD_KINDS] == changed[REDNESS,]
    assert 20 < changed[()] < changed[BROAD_KINDS] / 4
    assert np.array_equal(maps[()], maps[BROAD_KINDS])  # what was found, done or not


def test_by_default_all_kinds_go_and_no_byte_differs() -> None:
    frame = noise_frame(512, 512)
    with (
        Retoucher(engine=Broad(), finder=FakeFinder(FACE)) as default,
        Retoucher(engine=Broad(), finder=FakeFinder(FACE), also=set(BROAD_KINDS)) as named,
    ):
        assert np.array_equal(default.process(frame), named.process(frame))
        assert set(default.also) == set(BROAD_KINDS)


@pytest.mark.parametrize("command", ["file", "broadcast", "camera", "relay"])
def test_every_command_hands_the_options_on(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    class FileRetoucher:
        def __init__(self, *_: object, also: object, keep: object) -> None:
            asked.append((set(also), set(keep)))  # type: ignore[call-overload]

    class Broadcast:
        def __init__(self, job: BroadcastJob, _make: object) -> None:
            live(job.settings)

        def run(self, *_: object) -> None:
            raise StopIteration

    def live(settings: Settings | MediaOptions) -> None:
        asked.append((set(settings.also), set(settings.keep)))

    monkeypatch.setattr(cli, "load_engine", lambda *_: FakeEngine())
    monkeypatch.setattr(retoucher, "Retoucher", FileRetoucher)
    monkeypatch.setattr(broadcast, "Broadcast", Broadcast)
    words = {"file": ["file", "a.png", "b.png"], "broadcast": ["file", "a.mp4", "udp://127.0.0.1:9"]}
    options = cli.parser().parse_args([*words.get(command, [command]), "--also", "shine", "--keep", "lines"])
    if command == "file":
        cli.make_retoucher_of(options)()
    elif command == "broadcast":
        with pytest.raises(StopIteration):
            cli._broadcast(options)
    elif command == "camera":
        live(job_of(options).settings)
    else:
        live(relay.media_options_of(options))
    assert asked == [({SHINE}, {LINES})]


@pytest.mark.parametrize("wrong", ["redness", ["rash"], {"shine", "moles"}, None, [["shine"]]])
def test_unknown_kinds_are_refused_in_a_sentence(wrong: object) -> None:
    with pytest.raises(OptionError, match="also must be some of under-eye, redness, shine"):
        Retoucher(engine=FakeEngine(), finder=FakeFinder(), also=wrong)  # type: ignore[arg-type]


def test_the_option_takes_lists_none_and_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert broad_kinds("redness, SHINE,") == {REDNESS, SHINE}
    assert broad_kinds("none") == set()
    assert broad_kinds("all") == set(BROAD_KINDS)
    with pytest.raises(SystemExit):
        main(["file", "in.png", "out.png", "--also", "moles"])
    assert "'moles' is no list of under-eye, redness, shine" in capsys.readouterr().err


@pytest.mark.parametrize("kind", range(3))
def test_the_map_shows_each_kind_in_its_own_colour(kind: int) -> None:
    raw = drawn(0, 80, 60)
    retoucher = FakeRetoucher(60)
    retouched = retoucher.process(raw)
    shares = tuple(float(k == kind) for k in range(3))
    faces = [replace(face, shares=shares) for face in retoucher.last.faces]
    assert np.abs(map_view(retouched, faces)[12, 16].astype(int) - KIND_RGB[kind]).max() <= 1
