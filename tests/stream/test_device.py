"""stream.device: a frame that goes to a GPU and back is retouched as on the host."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stream.composite import skin_guard
from stream.device import DeviceRetoucher, guarded
from stream.errors import EngineError, FrameError, OptionError, VretouchError
from stream.face import Detection
from stream.frame import ColourTags
from stream.keep import FRECKLES, LINES, MOLES
from stream.kernels.launch import Surface
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame
from tests.stream.host_board import FakeDeviceEngine, HostBoard
from tests.stream.kernels import twins

KEPT = ((MOLES,), (MOLES, FRECKLES), ())


def clip(frames: int, width: int = 320) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames of noise with a face that moves."""
    return [
        (noise_frame(240, width, seed=k), face_at(160 + 3 * k, 120, 0.35 + 0.01 * k, 0.1))
        for k in range(frames)
    ]


def retouched(
    r: Retoucher, finder: FakeFinder, frames: list[tuple[np.ndarray, np.ndarray]]
) -> list[np.ndarray]:
    outs = []
    for k, (frame, face) in enumerate(frames):
        finder.faces = [face]
        outs.append(r.process(frame, k / 30))
    return outs


def on_device(finder: FakeFinder, board: HostBoard | None = None, **options: object) -> DeviceRetoucher:
    board = board or HostBoard()
    return DeviceRetoucher(FakeDeviceEngine(board), board, finder=finder, **options)  # type: ignore[arg-type]


def both(
    frames: list[tuple[np.ndarray, np.ndarray]], **options: object
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The frames retouched on the device and on the host."""
    finder, other = FakeFinder(), FakeFinder()
    with (
        on_device(finder, **options) as r,
        Retoucher(engine=FakeDeviceEngine(), finder=other, **options) as host,  # type: ignore[arg-type]
    ):
        return retouched(r, finder, frames), retouched(host, other, frames)


@pytest.mark.parametrize("width", [320, 323])
@pytest.mark.parametrize("kept", KEPT, ids="+".join)
def test_it_gives_what_the_host_gives_within_a_level(width: int, kept: tuple[str, ...]) -> None:
    frames = clip(4, width)
    got, wanted = both(frames, keep=kept, strength=0.9)
    for (frame, _), one, other in zip(frames, got, wanted, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
        assert np.mean(one != other) < 0.01
        assert (one != frame).any()


def test_strength_nought_changes_nothing_and_the_input_is_left_alone() -> None:
    (frame, face), *_ = clip(1)
    before = frame.copy()
    with on_device(FakeFinder(face), strength=0.0) as r:
        np.testing.assert_array_equal(r.process(frame), before)
        r.strength = 1.0
        assert (r.process(frame) != before).any()
    np.testing.assert_array_equal(frame, before)


def test_one_upload_and_one_download_and_in_this_order() -> None:
    board = HostBoard()
    (frame, face), *_ = clip(1)
    with on_device(FakeFinder(face), board) as r:
        r.process(frame)
    # The second upload is the guard's.
    assert board.log == ["upload", "crop", "step", "upload", "guard", "paste", "download"]


def test_a_frame_without_a_face_comes_back_as_it_went() -> None:
    frame = noise_frame(241, 323)
    with on_device(FakeFinder()) as r:
        np.testing.assert_array_equal(r.process(frame), frame)
        assert r.last.faces == []


def test_what_the_kernels_do_not_do_goes_through_the_host() -> None:
    board = HostBoard()
    (frame, face), *_ = clip(1)
    finder = FakeFinder(face)
    with (
        on_device(finder, board, keep=(LINES,)) as r,
        Retoucher(engine=FakeDeviceEngine(), finder=finder) as host,
    ):
        host.keep = (LINES,)
        np.testing.assert_array_equal(r.process(frame), host.process(frame))
        assert board.log == []
        r.keep = host.keep = ()
        assert np.abs(r.process(frame).astype(int) - host.process(frame)).max() <= 1
        assert "paste" in board.log
        r.also = host.also = ()
        board.log.clear()
        np.testing.assert_array_equal(r.process(frame), host.process(frame))
        assert board.log == []


@pytest.mark.parametrize("asked", [{"keep": (LINES,)}, {"also": ()}])
def test_the_host_does_not_carry_on_what_stayed_on_the_gpu(asked: dict[str, tuple[str, ...]]) -> None:
    (frame, face), *_ = clip(1)
    with on_device(FakeFinder(face), HostBoard()) as r:
        assert (r.process(frame) != frame).any()
        for name, value in asked.items():
            setattr(r, name, value)
        carried = r.step(r.locate(frame), at_most=0)
        assert carried.faces == ()
        np.testing.assert_array_equal(r.composite(frame, carried), frame)
        assert (r.process(frame) != frame).any()


def test_a_frame_larger_than_the_kernels_take_goes_through_the_host() -> None:
    board = HostBoard()
    frame = noise_frame(16, 8200)
    with on_device(FakeFinder(), board) as r:
        np.testing.assert_array_equal(r.process(frame), frame)
    assert board.log == []


def test_several_frames_may_be_under_way() -> None:
    frames, finder = clip(3), FakeFinder()
    with on_device(finder) as r:
        one_by_one = retouched(r, finder, frames)
        r.reset()
        located = []
        for k, (frame, face) in enumerate(frames):
            finder.faces = [face]
            located.append(r.locate(frame, k / 30))
        stepped = [r.step(each) for each in located]
        outs = [r.composite(frame, each) for (frame, _), each in zip(frames, stepped, strict=True)]
    for one, other in zip(one_by_one, outs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_guards_are_made_where_faces_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def noting(landmarks_px: np.ndarray) -> np.ndarray:
        made.append(threading.current_thread().name)
        return skin_guard(landmarks_px)

    monkeypatch.setattr("stream.device.skin_guard", noting)
    (frame, face), *_ = clip(1)
    with on_device(FakeFinder(face)) as r, ThreadPoolExecutor(1, "finding") as finding:
        located = finding.submit(r.locate, frame).result()
        out = r.composite(frame, r.step(located))
        assert made == ["finding_0"]
        r.reset()
        # Faces that were found before, first without their guards, then with them.
        with Retoucher(engine=FakeDeviceEngine(), finder=FakeFinder(face)) as host:
            found = host.locate(frame)
        ready = guarded(found, frame.shape)
        assert ready.stage_ms["align"] > found.stage_ms["align"]
        made.clear()
        for each in (found, ready):
            np.testing.assert_array_equal(r.composite(frame, r.step(r.sent(frame, each))), out)
            r.reset()
    assert (out != frame).any()
    assert len(made) == 1


def test_a_face_that_leaps_starts_anew() -> None:
    frames = clip(3)
    far = [(frame, face_at(100, 120, 0.35)) for frame, _ in clip(2)]
    finder, other = FakeFinder(), FakeFinder()
    with on_device(finder) as r, Retoucher(engine=FakeDeviceEngine(), finder=other) as host:
        got, wanted = retouched(r, finder, frames + far), retouched(host, other, frames + far)
        (face,) = r.last.faces
        assert (face.id, r._memories[face.id].epoch) == (0, 1)
    for one, other_frame in zip(got, wanted, strict=True):
        assert np.abs(one.astype(int) - other_frame).max() <= 1


def test_a_face_that_has_gone_leaves_nothing_on_the_device() -> None:
    (frame, face), *_ = clip(1)
    finder = FakeFinder(face)
    with on_device(finder) as r:
        one = r.process(frame, 0.0)
        r.process(frame, 1 / 30)
        assert list(r._known) == [0]
        seen = r.step(r.locate(frame, 2 / 30))
        freed = weakref.ref(r._known[0].lowered)
        finder.faces = []
        # Anew after a gap: the face is gone at once, while the frame before is still under way.
        empty = r.step(r.locate(frame, 9.0))
        assert r._known == {}
        late = r.composite(frame, seen)
        np.testing.assert_array_equal(r.composite(frame, empty), frame)
        del seen
        assert freed() is None
    assert (late != frame).any()
    assert np.abs(late.astype(int) - one).max() <= 3  # as in the first frame, but for the memory's two levels


@pytest.mark.parametrize(("before", "after"), [((LINES,), ()), ((), (LINES,))], ids=["to", "from"])
def test_settings_may_change_while_a_frame_is_located(
    before: tuple[str, ...], after: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (frame, face), *_ = clip(1)
    finder, board = FakeFinder(face), HostBoard()
    with on_device(finder, board, keep=before) as r:
        detect = finder.detect

        def changing(frame: np.ndarray) -> list[Detection]:
            r.keep = after
            return detect(frame)

        monkeypatch.setattr(finder, "detect", changing)
        assert (r.process(frame) != frame).any()
        assert r.keep == frozenset(after)
    # The frame goes all the way as it set out.
    assert board.log == ([] if before else ["upload", "crop", "step", "upload", "guard", "paste", "download"])


def test_a_closed_one_uploads_nothing() -> None:
    board = HostBoard()
    r = on_device(FakeFinder(), board)
    r.close()
    with pytest.raises(VretouchError, match="closed"):
        r.locate(noise_frame(240, 320))
    assert board.log == []


def test_a_face_that_is_not_stepped_carries_on_what_was_seen_last() -> None:
    (frame, face), *_ = clip(1)
    board = HostBoard()
    with on_device(FakeFinder(face), board) as r:
        r.process(frame)
        board.log.clear()
        r.composite(frame, r.step(r.locate(frame), at_most=0))
        assert board.log == ["upload", "upload", "guard", "paste", "download"]


def test_two_faces_have_states_of_their_own() -> None:
    frame = noise_frame(240, 640)
    finder = FakeFinder(face_at(150, 120, 0.3), face_at(450, 120, 0.3))
    got = []
    with (
        on_device(finder, max_faces=2) as r,
        Retoucher(engine=FakeDeviceEngine(), finder=finder, max_faces=2) as host,
    ):
        for _ in range(2):
            got.append((r.process(frame), host.process(frame)))
        assert [face.id for face in r.last.faces] == [0, 1]
        assert all(face.changed_px is not None for face in r.last.faces)
    for one, other in got:
        assert np.abs(one.astype(int) - other).max() <= 1


def test_the_maps_stay_on_the_device() -> None:
    (frame, face), *_ = clip(1)
    with on_device(FakeFinder(face)) as r:
        r.process(frame)
        (found,) = r.last.faces
    assert np.isnan(found.map).all() and np.isnan(found.residual).all()
    assert r.last.stage_ms["total"] >= r.last.stage_ms["composite"] > 0


def test_an_engine_of_the_host_and_a_bad_frame_are_refused() -> None:
    with pytest.raises(EngineError, match="the engine fake does not step on a GPU"):
        DeviceRetoucher(FakeEngine(), HostBoard(), finder=FakeFinder())  # type: ignore[arg-type]
    with on_device(FakeFinder()) as r, pytest.raises(FrameError, match="uint8"):
        r.process(np.zeros((8, 8, 3), np.float32))  # type: ignore[arg-type]


def test_the_torch_engine_between_its_own_buffers() -> None:
    """The real network: float32 on this CPU."""
    require("torch")
    from stream.engines.torch_ import TorchEngine

    engine, frames, finder = TorchEngine("live", 1), clip(3), FakeFinder()
    with DeviceRetoucher(engine, HostBoard(at_once=True), finder=finder) as r:
        got = retouched(r, finder, frames)
    with Retoucher(engine=engine, finder=finder) as host:
        wanted = retouched(host, finder, frames)
    for one, other in zip(got, wanted, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.gpu
def test_a_frame_through_a_gpu_is_that_of_a_cpu() -> None:
    from stream.engine import load_engine
    from stream.kernels.cupy_ import CupyBoard

    frames, finder = clip(13), FakeFinder()
    with DeviceRetoucher(load_engine("torch-cuda"), CupyBoard(), finder=finder) as r:
        got = [out.copy() for out in retouched(r, finder, frames)]
    with Retoucher(engine="onnx-cpu", finder=finder) as host:
        wanted = retouched(host, finder, frames)
    for one, other in zip(got, wanted, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 2


def surface_on(board: HostBoard, planes: list[np.ndarray]) -> Surface:
    """The planes as a frame there; they must live."""
    height, width = planes[0].shape
    addresses, pitches = zip(*((p.ctypes.data, p.strides[0]) for p in planes), strict=True)
    return Surface(("nv12", "yuv420p")[len(planes) - 2], width, height, addresses, pitches, ColourTags(1, 1))


def planes_of(frame: np.ndarray, pix_fmt: str) -> list[np.ndarray]:
    """Colours as of skin, with the frame's noise."""
    height, width = frame.shape[:2]
    luma = (100 + frame[:, :, 0] // 4).astype(np.uint8)
    chroma = (112 + frame[: height // 2, : width // 2, 1:] // 8).astype(np.uint8)
    return [luma, chroma] if pix_fmt == "nv12" else [luma, *np.ascontiguousarray(chroma.transpose(2, 0, 1))]


@pytest.mark.parametrize("pix_fmt", ["nv12", "yuv420p"])
@pytest.mark.parametrize("kept", KEPT, ids="+".join)
def test_a_frame_that_lies_there_is_retouched_there_as_on_the_host(
    pix_fmt: str, kept: tuple[str, ...]
) -> None:
    board, finder, other = HostBoard(), FakeFinder(), FakeFinder()
    with (
        on_device(finder, board, keep=kept, in_place=True) as r,
        Retoucher(engine=FakeDeviceEngine(), finder=other, keep=kept) as host,
    ):
        for k, (frame, face) in enumerate(clip(3)):
            finder.faces = other.faces = [face]
            planes = planes_of(frame, pix_fmt)
            rgb = twins.rgb_of(planes, ColourTags(1, 1))
            before, wanted = [p.copy() for p in planes], [p.copy() for p in planes]
            surface = surface_on(board, planes)
            stepped = r.step(r.locate(rgb, k / 30, surface=surface))
            np.testing.assert_array_equal(planes[0], before[0])
            assert r.composite(rgb, stepped) is rgb
            twins.carry(wanted, rgb, host.process(rgb, k / 30), ColourTags(1, 1))
            # The network sees a face that was cropped from Y, U and V, a level off here and there.
            for got, same in zip(planes, wanted, strict=True):
                assert np.abs(got.astype(int) - same).max() <= 1
                assert np.mean(got != same) < 0.01
            assert np.abs(planes[0].astype(int) - before[0]).max() >= 5
            assert r.last.faces[0].changed_px == host.last.faces[0].changed_px
    assert board.log == ["crop", "step", "upload", *(["guard"] if kept else []), "paste", "reached"] * 3


def test_frames_that_lie_there_and_frames_that_do_not_may_follow_one_another() -> None:
    board, finder = HostBoard(), FakeFinder()
    frames = clip(4)
    with on_device(finder, board, in_place=True) as r:
        located, planes = [], [planes_of(frame, "nv12") for frame, _ in frames]
        for k, (frame, face) in enumerate(frames):
            finder.faces = [face]
            there = None if k % 2 else surface_on(board, planes[k])
            located.append(r.locate(frame, k / 30, surface=there))
        stepped = [r.step(each) for each in located]
        outs = [r.composite(frame, each) for (frame, _), each in zip(frames, stepped, strict=True)]
    for k, (frame, _) in enumerate(frames):
        assert (outs[k] is frame) == (k % 2 == 0)
        assert (outs[k] != frame).any() == (k % 2 == 1)
        assert (planes[k][0] != planes_of(frame, "nv12")[0]).any() == (k % 2 == 0)


def test_a_frame_that_may_not_stay_there_is_refused() -> None:
    (frame, face), *_ = clip(1)
    board, planes = HostBoard(), planes_of(frame, "nv12")
    with on_device(FakeFinder(face), board) as r:
        assert not r.fits(frame.shape)
        with pytest.raises(OptionError, match="as `also` and `keep` ask; leave out its surface"):
            r.locate(frame, surface=surface_on(board, planes))
    with on_device(FakeFinder(face), board, in_place=True) as r:
        assert r.fits(frame.shape) and not r.fits((16, 8200, 3))
        r.keep = (LINES,)
        assert not r.fits(frame.shape)
        r.keep = ()
        with pytest.raises(FrameError, match="a frame of 320x200 cannot lie on the GPU as one of 320x240"):
            r.locate(np.ascontiguousarray(frame[:200]), surface=surface_on(board, planes))
    assert board.log == []
