"""Decoding and encoding by a GPU: what is asked of PyAV, that frames as NVDEC gives them become those of the
CPU's decoder, and a sentence where there is no such GPU. No GPU is needed but where it is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import av.error
import numpy as np
import pytest

from stream import file, gpu_codecs, sink, source
from stream.cli import main
from stream.encoding import NVENC, Picture, choose_encoding, picture_of
from stream.engine import has_gpu
from stream.errors import SourceError
from stream.frame import ColourTags
from stream.gpu_codecs import check_encoder, in_host_memory, kept_on_gpu, nvdec, surface_of
from stream.job import FileJob
from stream.native import plane_arrays
from stream.output import OutputError
from stream.source import VideoSource
from tests.stream.media import Clip, FakeRetoucher, make_video, planes_of
from tests.stream.nvidia import NVDEC, CudaFrame, as_nvdec

CLIPS = {
    "8 bits": Clip(frames=3),
    "10 bits": Clip(frames=3, pix_fmt="yuv420p10le"),
    "odd": Clip(65, 49, 3, codec="ffv1", options={}),
    "odd, 10 bits": Clip(65, 49, 3, codec="ffv1", options={}, pix_fmt="yuv420p10le"),
    "full range": Clip(frames=3, tags=(1, 2, 1, 1)),
    "BT.601": Clip(frames=3, tags=(6, 1, 6, 6)),
}
without_gpu = pytest.mark.skipif(has_gpu(), reason="there is an NVIDIA GPU")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What av.open was asked to decode on; decoding is the CPU's, its frames are laid out as NVDEC's."""
    asked: list[Any] = []
    real, frames_of = av.open, VideoSource._frames_of

    def opened(*words: Any, hwaccel: Any = None, **named: Any) -> Any:
        if words[1:] == ("r",):
            asked.append(hwaccel)
        return real(*words, **named)

    def on_gpu(self: VideoSource, packet: Any) -> Iterator[Any]:
        for native in frames_of(self, packet):
            yield as_nvdec(native) if self._on_gpu else native

    monkeypatch.setattr(source, "nvdec", lambda *, stay: f"the GPU{', and stay' * stay}")
    monkeypatch.setattr(source, "is_on_gpu", lambda _: True)
    monkeypatch.setattr(source.av, "open", opened)
    monkeypatch.setattr(VideoSource, "_frames_of", on_gpu)
    return asked


def read(path: Path, decoder: str) -> tuple[Any, list[Any]]:
    with VideoSource(str(path), decoder=decoder) as opened:
        return opened.info, list(opened.frames(opened.info.native))


@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS.keys())
def test_frames_as_nvdec_gives_them_become_those_of_the_cpu(
    tmp_path: Path, clip: Clip, asked: list[Any]
) -> None:
    path = make_video(tmp_path / "in.mkv", clip)
    info, wanted = read(path, "cpu")
    on_gpu, got = read(path, "cuda")
    assert asked == [None, "the GPU"]
    assert (on_gpu.native, on_gpu.tags) == (info.native, info.tags)
    assert on_gpu.pix_fmt == NVDEC[info.pix_fmt]
    assert len(got) == len(wanted) == 3
    for one, other in zip(got, wanted, strict=True):
        assert (one.pts, one.time_base, one.duration) == (other.pts, other.time_base, other.duration)
        assert one.native.format.name == other.native.format.name == info.native
        for plane, same in zip(plane_arrays(one.native), plane_arrays(other.native), strict=True):
            np.testing.assert_array_equal(plane, same)
        np.testing.assert_array_equal(one.rgb_u8, other.rgb_u8)


def test_a_file_is_retouched_alike_and_only_where_the_residual_falls(
    tmp_path: Path, asked: list[Any]
) -> None:
    path, outs = make_video(tmp_path / "in.mp4"), []
    for decoder in ("cpu", "cuda"):
        out = tmp_path / f"{decoder}.mkv"
        words = ["file", str(path), str(out), "--lossless", "--quiet", "--decoder", decoder]
        assert main(words, FakeRetoucher) == 0
        outs.append(planes_of(out))
    assert asked[0] is None and "the GPU" in asked
    for one, other in zip(*outs, strict=True):
        for plane, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(plane, same)
    raw = planes_of(path)[0][0]
    assert (outs[1][0][0][:32] != raw[:32]).any()
    np.testing.assert_array_equal(outs[1][0][0][32:], raw[32:])


@without_gpu
@pytest.mark.parametrize(("option", "value"), [("--decoder", "cuda"), ("--encoder", "nvenc")])
def test_without_a_gpu_it_is_a_sentence_and_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    path = make_video(tmp_path / "in.mp4")
    assert main(["file", str(path), str(tmp_path / "out.mp4"), option, value], FakeRetoucher) == 2
    said = capsys.readouterr().err
    assert said.startswith("vretouch: there is no NVIDIA GPU ") and said.count("\n") == 1
    assert f"(FFmpeg: operation not permitted); leave out {option} {value} to " in said
    assert list(tmp_path.iterdir()) == [path]


@without_gpu
def test_pyav_is_asked_for_the_gpu_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Accel:
        def __init__(self, *words: Any, **named: Any) -> None:
            asked.append((words, named))

        def create(self, codec: Any) -> None:
            asked.append(codec.name)

    monkeypatch.setattr(gpu_codecs, "HWAccel", Accel)
    assert isinstance(nvdec(), Accel)
    assert asked == [(("cuda",), {"allow_software_fallback": False, "is_hw_owned": False}), "h264"]


def test_frames_are_left_on_the_gpu_where_ffmpeg_may_share_its_context(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may not where CuPy or torch came first: a PyAV of today then says what is raised here."""
    asked: list[bool] = []
    taken = [True]

    class Accel:
        def __init__(self, _: str, *, allow_software_fallback: bool, is_hw_owned: bool) -> None:
            assert not allow_software_fallback
            asked.append(is_hw_owned)

        def create(self, _: Any) -> None:
            if asked[-1] and not taken[0]:
                raise av.error.OSError(95, "Operation not supported", None)

    monkeypatch.setattr(gpu_codecs, "HWAccel", Accel)
    nvdec(stay=True)
    assert asked == [True] and not caplog.messages
    taken[0] = False
    nvdec(stay=True)
    assert asked == [True, True, False]
    assert caplog.messages == [
        "frames decoded on the GPU go through the host's memory: FFmpeg does not share the GPU (operation "
        "not supported)"
    ]


def test_where_a_frame_lies(tmp_path: Path) -> None:
    _, (frame, *_) = read(make_video(tmp_path / "in.mp4"), "cpu")
    native, tags = as_nvdec(frame.native), ColourTags(1, 1)
    assert surface_of(native, tags) is None and in_host_memory(native) is native
    there = CudaFrame(native)
    surface = surface_of(there, tags)
    assert surface is not None
    assert (surface.pix_fmt, surface.width, surface.height, surface.tags) == ("nv12", 96, 64, tags)
    assert surface.addresses == tuple(plane.buffer_ptr for plane in native.planes)
    assert surface.pitches == tuple(plane.line_size for plane in native.planes)
    copy = in_host_memory(there)
    assert copy.planes[0].buffer_ptr != native.planes[0].buffer_ptr
    for plane, same in zip(copy.planes, native.planes, strict=True):
        assert bytes(plane) == bytes(same)
    _, (ten_bits, *_) = read(make_video(tmp_path / "10.mkv", CLIPS["odd, 10 bits"]), "cpu")
    assert surface_of(CudaFrame(as_nvdec(ten_bits.native)), tags) is None


def test_the_encoder_is_tried_with_the_gpu_s_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Any] = []
    broken: list[Exception] = []

    class Accel:
        def __init__(self, *words: Any, **named: Any) -> None:
            made.append((words, named))

    def create(name: str, mode: str, memory: Any) -> Any:
        assert (name, mode) == (NVENC, "w") and isinstance(memory, Accel)
        made.append(SimpleNamespace(open=opened))
        return made[-1]

    def opened() -> None:
        if broken:
            raise broken[0]

    codec = SimpleNamespace(CodecContext=SimpleNamespace(create=create), codec=av.codec.codec)
    monkeypatch.setattr(gpu_codecs, "av", SimpleNamespace(codec=codec, error=av.error))
    monkeypatch.setattr(gpu_codecs, "HWAccel", Accel)
    picture = Picture(96, 64, Fraction(1, 30), Fraction(30))
    there = kept_on_gpu(encoded(), picture)
    assert (there.on_gpu, there.pix_fmt, there.native, there.codec) == (True, "nv12", "yuv420p", NVENC)
    assert there.notes == ("frames stayed on the GPU from its decoder to its encoder",)
    accel, tried = made
    assert accel == (("cuda",), {"options": {"primary_ctx": "1"}})
    assert (tried.width, tried.height, tried.pix_fmt, tried.options) == (96, 64, "nv12", there.options)
    for error in (av.error.ExternalError(-542398533, "failed", None), NotImplementedError("no config")):
        broken[:] = [error]
        assert kept_on_gpu(encoded(), picture) == encoded()
    reasons = [message.partition("NVENC takes none from the GPU's ")[2] for message in caplog.messages]
    assert reasons == ["(failed)", "(no config)"]


def test_a_pyav_that_knows_no_gpu_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*_: Any) -> None:
        raise NotImplementedError("No supported hardware config for h264")

    monkeypatch.setattr(gpu_codecs, "HWAccel", lambda *_, **__: SimpleNamespace(create=create))
    with pytest.raises(
        SourceError, match=r"FFmpeg: no supported hardware config for h264\); leave out --dec"
    ):
        nvdec()


def test_a_codec_that_no_gpu_decodes_is_a_sentence(
    tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "in.mkv", CLIPS["odd"])
    monkeypatch.setattr(source, "is_on_gpu", lambda _: False)
    words = r"in.mkv is of a codec that no GPU decodes; leave out --decoder cuda$"
    with pytest.raises(SourceError, match=words):
        read(path, "cuda")

    def none(*_: Any, **__: Any) -> None:
        raise RuntimeError("Hardware accelerated decode requested but no stream is compatible")

    monkeypatch.setattr(source.av, "open", none)
    with pytest.raises(SourceError, match=words):
        read(path, "cuda")
    with pytest.raises(RuntimeError):
        read(path, "cpu")


def test_what_the_gpu_fails_to_decode_names_the_way_out(
    tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "in.mp4")

    def refused() -> None:
        raise av.error.ExternalError(-542398533, "Generic error in an external library", None)

    with VideoSource(str(path), decoder="cuda") as opened:
        with pytest.raises(SourceError, match=r"in an external library\); leave out --decoder cuda$"):
            list(opened._frames_of(SimpleNamespace(decode=refused)))
        assert opened.video.codec_context.thread_type == av.codec.context.ThreadType.NONE
    monkeypatch.setattr(VideoSource, "_frames_of", lambda *_: iter(()))
    with pytest.raises(SourceError, match=r"get a whole copy, or leave out --decoder cuda$"):
        read(path, "cuda")
    with pytest.raises(SourceError, match=r"get a whole copy, or convert it first$"):
        read(path, "cpu")


def encoded(native: str | None = "yuv420p", format: str = "mp4", **options: Any) -> Any:
    given = {"lossless": False, "composed": False, "encoder": "nvenc"} | options
    return choose_encoding(format, native, given.pop("size", (320, 240)), **given)


def test_nvenc_s_settings() -> None:
    lossy = encoded()
    assert (lossy.codec, lossy.pix_fmt, lossy.native) == (NVENC, "yuv420p", "yuv420p")
    assert lossy.options == {"preset": "p4", "tune": "hq", "rc": "vbr", "cq": "19", "b": "0"}
    assert encoded(lossless=True).options == {"preset": "p4", "tune": "lossless"}
    assert encoded("yuv444p", "matroska").pix_fmt == "yuv444p"
    assert (encoded(None).codec, encoded(None).pix_fmt, encoded(None).native) == (NVENC, "yuv420p", None)
    assert encoded(encoder="cpu").codec == "libx264"


@pytest.mark.parametrize("lossless", [False, True])
def test_ffmpeg_knows_nvenc_s_settings(lossless: bool) -> None:
    """A wrong value is another error, and comes before a GPU is looked for."""
    context: Any = av.codec.CodecContext.create(NVENC, "w")
    context.width, context.height, context.pix_fmt = 320, 240, "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = encoded(lossless=lossless).options
    with suppress(av.error.PermissionError, av.error.ExternalError):
        context.open()


@pytest.mark.parametrize(
    ("asked_for", "words"),
    [
        ({"format": "webm"}, "NVENC writes H.264, and the output is libvpx-vp9; name it .mp4"),
        ({"format": "nut"}, "NVENC writes H.264, and the output is rawvideo; name it .mp4"),
        ({"native": "yuv420p10le"}, "NVENC writes yuv420p or yuv444p, and the output would be yuv420p10le"),
        ({"native": "yuv422p"}, "would be yuv422p; leave out --encoder nvenc"),
        ({"native": None, "lossless": True}, "would be rgb24; leave out --encoder nvenc"),
        ({"info": SimpleNamespace(interlaced=True, alpha=False, aspect=None)}, "the input is interlaced"),
    ],
    ids=["webm", "nut", "10 bits", "4:2:2", "rgb", "interlaced"],
)
def test_what_nvenc_is_not_asked_for_is_a_sentence(asked_for: dict[str, Any], words: str) -> None:
    with pytest.raises(OutputError, match=words):
        encoded(**asked_for)


def test_the_encoder_is_tried_with_the_settings_and_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, _ = read(make_video(tmp_path / "in.mp4"), "cpu")
    made: list[Any] = []

    def create(name: str, mode: str, memory: Any) -> Any:
        assert memory is None
        made.append(SimpleNamespace(name=name, mode=mode, open=lambda: None))
        return made[-1]

    codec = SimpleNamespace(CodecContext=SimpleNamespace(create=create), codec=av.codec.codec)
    monkeypatch.setattr(gpu_codecs, "av", SimpleNamespace(codec=codec, error=av.error))
    check_encoder(encoded(encoder="cpu"), picture_of(info))
    assert made == []
    check_encoder(encoded(), picture_of(info))
    (tried,) = made
    assert (tried.name, tried.mode, tried.width, tried.height) == (NVENC, "w", 96, 64)
    assert (tried.pix_fmt, tried.options) == ("yuv420p", encoded().options)
    assert tried.time_base * tried.framerate == 1


def test_the_sink_asks_pyav_for_nvenc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An H.264 encoder of the CPU in its place."""
    asked: list[Any] = []
    real = sink.VideoSink._open

    class Container:
        def __init__(self, container: Any) -> None:
            self._container = container

        def __getattr__(self, name: str) -> Any:
            return getattr(self._container, name)

        def add_stream(self, codec: str, **named: Any) -> Any:
            asked.append((codec, named.pop("options")))
            return self._container.add_stream("libx264", options={"qp": "0"}, **named)

    monkeypatch.setattr(sink.VideoSink, "_open", lambda self: Container(real(self)))
    monkeypatch.setattr(file, "check_encoder", lambda encoding, _: asked.append(encoding.codec))
    path, out = make_video(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    file.retouch_video(FileJob(str(path), str(out), quiet=True, encoder="nvenc"), FakeRetoucher)
    assert asked == [NVENC, (NVENC, encoded().options)]
    np.testing.assert_array_equal(planes_of(out)[2][0][32:], planes_of(path)[2][0][32:])


@pytest.mark.parametrize("option", [["--decoder", "cuda"], ["--encoder", "nvenc"]])
@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (["in.png", "out.png"], "is for videos, and in.png is an image; leave it out"),
        (["in.mp4", "udp://127.0.0.1:9"], "is for files, and OUT is a live address; leave it out"),
        (["udp://127.0.0.1:9", "out.mp4"], "is for files, and IN is a live address; leave it out"),
    ],
    ids=["image", "live out", "live in"],
)
def test_they_are_for_video_files(
    capsys: pytest.CaptureFixture[str], option: list[str], ends: list[str], words: str
) -> None:
    assert main(["file", *ends, *option], FakeRetoucher) == 2
    assert capsys.readouterr().err == f"vretouch: {option[0]} {words}\n"


@pytest.mark.gpu
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_this_gpu_decodes_as_the_cpu(tmp_path: Path, pix_fmt: str) -> None:
    codec = "libx264" if pix_fmt == "yuv420p" else "libx265"
    path = make_video(tmp_path / "in.mkv", Clip(320, 240, codec=codec, pix_fmt=pix_fmt, options={}))
    info, wanted = read(path, "cpu")
    on_gpu, got = read(path, "cuda")
    assert (on_gpu.native, on_gpu.tags, len(got)) == (info.native, info.tags, len(wanted))
    for one, other in zip(got, wanted, strict=True):
        for plane, same in zip(plane_arrays(one.native), plane_arrays(other.native), strict=True):
            np.testing.assert_array_equal(plane, same)


@pytest.mark.gpu
@pytest.mark.parametrize("lossless", [False, True])
def test_this_gpu_s_encoder_keeps_the_picture(tmp_path: Path, lossless: bool, record_property: Any) -> None:
    path, out = make_video(tmp_path / "in.mp4", Clip(320, 240)), tmp_path / "out.mp4"
    job = FileJob(str(path), str(out), lossless=lossless, quiet=True, encoder="nvenc")
    try:
        file.retouch_video(job, lambda: FakeRetoucher(0))
    except OutputError as error:
        pytest.skip(f"this GPU has no encoder: {error}")
    apart = [np.abs(a[0].astype(int) - b[0]) for a, b in zip(planes_of(out), planes_of(path), strict=True)]
    record_property("mean levels apart", f"{np.mean(apart):.2f}")
    assert np.max(apart) == 0 if lossless else np.mean(apart) < 2.0
