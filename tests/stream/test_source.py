"""Reading videos: times, colours, orientation, parts, and a sentence for everything that cannot be read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stream.frame import ColourTags
from stream.job import RawVideo, Span
from stream.native import native_format
from stream.source import SourceError, VideoSource
from stream.wholeness import missing_bytes
from tests.stream.media import TICKS, Clip, drawn, make_video

UNEVEN = (0, 3000, 6777, 11331, 14331, 18108, 22662)


def read(path: Path, span: Span | None = None, raw: RawVideo | None = None):
    with VideoSource(str(path), span, raw) as source:
        return source.info, list(source.frames(source.info.native)), source


@pytest.mark.parametrize(
    ("name", "codec", "step"), [("a.mp4", "libx264", 1), ("a.mkv", "ffv1", 90), ("a.webm", "libvpx-vp9", 90)]
)
def test_uneven_times_are_kept(tmp_path, name, codec, step):
    info, frames, _ = read(make_video(tmp_path / name, Clip(codec=codec, times=UNEVEN, options={})))
    seen = [frame.pts * frame.time_base for frame in frames]
    # Matroska's clock ticks in milliseconds.
    wanted = [Fraction(round(t / step), 90_000 // step) for t in UNEVEN]
    assert seen == wanted
    assert all(frame.time_base == info.time_base for frame in frames)
    assert [frame.pts_s for frame in frames] == pytest.approx([float(t) for t in wanted])


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (5, 1, 5, 6), (1, 2, 1, 1), (9, 1, 9, 14), (6, 2, 6, 6)])
def test_colours_follow_the_tags(tmp_path, tags):
    clip = Clip(codec="ffv1", pix_fmt="yuv444p", options={}, tags=tags, frames=2)
    info, frames, _ = read(make_video(tmp_path / "a.mkv", clip))
    assert info.tags == ColourTags(*tags)
    assert np.abs(frames[0].rgb_u8.astype(int) - drawn(0, 96, 64)).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(64, 6), (720, 1)])
def test_untagged_videos_are_read_as_players_read_them(tmp_path, height, matrix):
    flat = Clip(
        codec="ffv1", pix_fmt="yuv444p", options={}, tags=(2, 0, 2, 2), frames=1, width=64, height=height
    )
    path = make_video(tmp_path / "a.mkv", flat)
    with av.open(str(path)) as container:
        native = next(container.decode(video=0))
    wanted = native.reformat(format="rgb24", src_colorspace=matrix).to_ndarray()
    _, frames, _ = read(path)
    assert np.array_equal(frames[0].rgb_u8, wanted)
    assert frames[0].native.color_range == 0


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotated_videos_come_upright(tmp_path, degrees):
    plain = make_video(tmp_path / "plain.mp4", Clip(frames=2))
    turned = make_video(tmp_path / "turned.mp4", Clip(frames=2, rotation=degrees))
    upright = np.rot90(read(plain)[1][0].rgb_u8, degrees // 90)
    info, frames, _ = read(turned)
    assert np.array_equal(frames[0].rgb_u8, upright)
    assert (info.width, info.height) == (96, 64)


@pytest.mark.parametrize(
    ("pix_fmt", "native"),
    [
        ("yuv420p", "yuv420p"),
        ("yuv420p10le", "yuv420p10le"),
        ("yuv444p", "yuv444p"),
        ("gray", "yuv420p"),
        ("yuv411p", "yuv422p"),
        ("yuva420p", "yuv420p"),
        ("bgr0", None),
    ],
)
def test_samples_are_kept_in_a_planar_format_or_as_rgb(tmp_path, pix_fmt, native):
    info, frames, _ = read(
        make_video(tmp_path / "a.mkv", Clip(codec="ffv1", pix_fmt=pix_fmt, options={}, frames=2))
    )
    assert (info.pix_fmt, info.native) == (pix_fmt, native)
    assert info.alpha == (pix_fmt == "yuva420p")
    assert frames[0].rgb_u8.shape == (64, 96, 3)
    assert (frames[0].native.format.name if native else frames[0].native) == native
    if pix_fmt == "bgr0":
        assert np.array_equal(frames[1].rgb_u8, drawn(1, 96, 64))


def test_motion_jpeg_keeps_its_samples_under_another_name(tmp_path):
    path = make_video(
        tmp_path / "a.mkv", Clip(codec="mjpeg", pix_fmt="yuvj420p", options={}, frames=2, tags=(6, 2, 2, 2))
    )
    with av.open(str(path)) as container:
        wanted = next(container.decode(video=0)).to_ndarray()
    info, frames, _ = read(path)
    assert info.tags.range == 2
    assert frames[0].native.format.name == "yuv420p"
    assert np.array_equal(frames[0].native.to_ndarray(), wanted)


def test_a_palette_is_rgb():
    assert native_format(av.VideoFrame(16, 16, "pal8")) is None
    assert native_format(av.VideoFrame(16, 16, "nv12")) == "yuv420p"
    assert native_format(av.VideoFrame(16, 16, "p010le")) == "yuv420p10le"


def test_part_of_a_video_begins_at_zero(tmp_path):
    path = make_video(
        tmp_path / "a.mp4", Clip(frames=60, options={"preset": "ultrafast", "g": "20"}, audio="aac")
    )
    whole = read(path)[1]
    info, part, source = read(path, Span(0.5, 0.4))
    assert [frame.pts for frame in part] == [k * 3000 for k in range(12)]
    assert np.array_equal(part[0].rgb_u8, whole[15].rgb_u8)
    assert info.frames == 12
    beside = [p for frame in part for p in frame.beside] + source.trailing
    assert beside
    assert all(-0.03 <= float(p.pts * p.time_base) < 0.4 for p in beside)


def test_chapters_are_cut_to_the_part(tmp_path):
    path = make_video(tmp_path / "a.mkv", Clip(frames=12, chapters=True))
    with VideoSource(str(path), Span(0.1, 0.2)) as source:
        seen = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in source.chapters
        ]
    assert seen == [(0, Fraction(1, 10), "one"), (Fraction(1, 10), Fraction(1, 5), "two")]


def test_times_that_stand_still_or_go_back_are_mended(tmp_path):
    path = make_video(tmp_path / "a.mkv", Clip(codec="ffv1", options={}, frames=4))
    with VideoSource(str(path)) as source:
        for pts in (100, 100, 50, None):
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
            source._last_pts = 100 if source._last_pts in (None, 0) else source._last_pts
            before = source._last_pts
            assert source._timed(frame)
            assert frame.pts == before + (33 if pts is None else 1)


def test_raw_video_needs_its_size_told(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (3, 32, 48), dtype=np.uint8)
    path = tmp_path / "a.raw"
    path.write_bytes(picture.tobytes())
    info, frames, _ = read(path, raw=RawVideo((48, 32), Fraction(25), "gray"))
    assert len(frames) == 3
    assert (info.width, info.height, info.rate) == (48, 32, 25)
    assert [frame.pts_s for frame in frames] == pytest.approx([0.0, 0.04, 0.08])
    assert np.array_equal(frames[2].rgb_u8[..., 1], picture[2])


def said(path: Path | str, **more) -> str:
    with pytest.raises(SourceError) as caught, VideoSource(str(path), **more) as source:
        list(source.frames(source.info.native))
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert ";" in sentence
    return sentence


def test_what_is_not_there(tmp_path):
    assert "there is no file" in said(tmp_path / "none.mp4")
    assert "is a folder" in said(tmp_path)


def test_what_is_empty_or_no_video(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello world\n" * 100)
    (tmp_path / "text.txt").write_text("hello world\n" * 100)
    assert "is empty" in said(tmp_path / "empty.mp4")
    assert "is not a video" in said(tmp_path / "text.mp4")
    assert "is not a video" in said(tmp_path / "text.txt")


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=48_000)
        sound.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    assert "has no video in it" in said(tmp_path / "a.mp4")


def test_what_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    assert "permission denied" in said(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "fast.mp4", "a.mkv", "a.webm", "a.avi"])
def test_a_video_cut_short_is_noticed_before_any_work(tmp_path, name):
    codec = {"a.webm": "libvpx-vp9", "a.avi": "mjpeg"}.get(name, "libx264")
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    base = Fraction(1, 30)
    whole = make_video(
        tmp_path / f"whole-{name}", Clip(frames=40, codec=codec, pix_fmt=pix_fmt, options={}, time_base=base)
    )
    assert missing_bytes(whole) == 0
    if name == "fast.mp4":
        whole = faststart(whole, tmp_path / "faststart.mp4")
        assert missing_bytes(whole) == 0
    content = whole.read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    assert "is cut short" in said(tmp_path / name)


def faststart(path: Path, out: Path) -> Path:
    options = {"movflags": "faststart"}
    with av.open(str(path)) as source, av.open(str(out), "w", container_options=options) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return out


def test_a_part_that_is_there_can_be_read_from_a_video_cut_short(tmp_path):
    whole = make_video(tmp_path / "whole.mkv", Clip(frames=60, codec="ffv1", options={}))
    content = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    assert len(read(tmp_path / "cut.mkv", Span(0.0, 0.5))[1]) == 15


def test_a_codec_that_is_not_known_is_refused(tmp_path):
    path = make_video(tmp_path / "a.mkv", Clip(codec="libvpx-vp9", options={}, frames=2))
    path.write_bytes(path.read_bytes().replace(b"V_VP9", b"V_ELF"))
    assert "of a codec that PyAV cannot decode" in said(path)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path, transfer, name):
    clip = Clip(pix_fmt="yuv420p10le", tags=(9, 1, 9, transfer), frames=2)
    assert f"is HDR ({name})" in said(make_video(tmp_path / "a.mp4", clip))


def test_more_than_ten_bits_are_refused(tmp_path):
    clip = Clip(codec="ffv1", pix_fmt="yuv420p16le", options={}, frames=2)
    assert "16 bits" in said(make_video(tmp_path / "a.mkv", clip))


def test_a_start_beyond_the_end(tmp_path):
    assert "no frame from 9 s on" in said(make_video(tmp_path / "a.mp4"), span=Span(9.0))


def test_damaged_packets_are_counted_and_the_rest_is_read(tmp_path):
    path = make_video(tmp_path / "a.mkv", Clip(frames=20, codec="libvpx-vp9", options={"g": "1"}))
    with av.open(str(path)) as whole, av.open(str(tmp_path / "b.mkv"), "w") as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(p for p in whole.demux(video=0) if p.size):
            if number == 7:
                damaged = av.Packet(b"\xff" * packet.size)
                damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
                packet = damaged
            packet.stream = stream
            container.mux(packet)
    _, frames, source = read(tmp_path / "b.mkv")
    assert len(frames) == 19
    assert source.notes == [f"1 damaged packet of {tmp_path / 'b.mkv'} was left out"]


def test_a_video_that_ends_early_is_told(tmp_path):
    path = make_video(tmp_path / "a.mkv", Clip(frames=60, codec="libvpx-vp9", options={}))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 60] = bytes(60)
    path.write_bytes(content)
    _, frames, source = read(path)
    assert len(frames) < 45
    assert source.notes[-1].startswith(f"{path} says it is 2.00 s long, but its frames end at")


def test_whole_videos_have_no_notes(tmp_path):
    assert read(make_video(tmp_path / "a.mp4", Clip(audio="aac")))[2].notes == []


def test_a_subtitle_that_outlasts_the_frames_is_no_early_end(tmp_path):
    words = tmp_path / "a.srt"
    words.write_text("1\n00:00:00,100 --> 00:00:09,000\nlong\n")
    names = str(make_video(tmp_path / "a.mp4")), str(words)
    with av.open(names[0]) as a, av.open(names[1]) as b, av.open(str(tmp_path / "b.mkv"), "w") as container:
        outs = [container.add_stream_from_template(s.streams[0], opaque=True) for s in (a, b)]
        for source, out in zip((a, b), outs, strict=True):
            for packet in source.demux(0):
                if packet.dts is not None:
                    packet.stream = out
                    container.mux(packet)
    assert read(tmp_path / "b.mkv")[2].notes == []


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    make_video(tmp_path / "a:b.mp4", Clip(frames=2))
    monkeypatch.chdir(tmp_path)
    assert len(read(Path("a:b.mp4"))[1]) == 2


def test_a_part_of_which_nothing_can_be_decoded(tmp_path):
    whole = make_video(tmp_path / "whole.mkv", Clip(width=640, height=480, options={"crf": "1"}))
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[:5000])
    assert "not one frame of" in said(tmp_path / "cut.mkv", span=Span(0.0, 0.2))


def test_wholeness_of_what_it_does_not_know(tmp_path):
    (tmp_path / "x").write_bytes(b"anything at all, longer than a header")
    assert missing_bytes(tmp_path / "x") == 0


def test_closing_waits_for_a_reader_and_never_closes_under_one(tmp_path, monkeypatch):
    monkeypatch.setattr("stream.source.CLOSE_WAIT_S", 0.05)
    source = VideoSource(str(make_video(tmp_path / "a.mp4")))
    with source._reading:
        source.close()
        assert next(iter(source.frames("yuv420p"))).pts == 0
        assert source._container.size > 0
    source.close()
    with pytest.raises(AssertionError, match="not open"):
        _ = source._container.size


def test_ticks_of_the_test_clips_are_exact():
    assert Clip().pts()[1] * TICKS == Fraction(1, 30)
