"""Writing videos: what must be kept is kept, skin is changed on its own planes, and failures leave
nothing."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stream.encoding import choose_encoding, format_for
from stream.file import FileJob, retouch_video
from stream.output import OutputError
from tests.stream.media import (
    PATCH,
    Clip,
    FakeRetoucher,
    drawn,
    make_video,
    packets_of,
    planes_of,
    rgb_frames,
    times_of,
)

UNEVEN = (0, 3000, 6777, 11331, 14331, 18108, 22662)


def retouched(source: Path, out: str, levels: int = 40, **options) -> Path:
    path = source.parent / out
    retouch_video(FileJob(str(source), str(path), quiet=True, **options), lambda: FakeRetoucher(levels))
    return path


def notes(source: Path, out: str, **options) -> tuple[str, ...]:
    job = FileJob(str(source), str(source.parent / out), quiet=True, **options)
    return retouch_video(job, FakeRetoucher).notes


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_everything_beside_the_picture_is_kept(tmp_path, name):
    source = make_video(
        tmp_path / "in.mp4",
        Clip(times=UNEVEN, audio="aac", chapters=True, rotation=90, aspect=Fraction(4, 3)),
    )
    out = retouched(source, name)
    with av.open(str(out)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert container.metadata["title"] == "drawn"
        assert [c["metadata"]["title"] for c in container.chapters()] == ["one", "two"]
        assert audio.metadata["language"] == ("ger" if name == "out.mov" else "deu")
        assert video.sample_aspect_ratio == Fraction(4, 3)
        context = video.codec_context
        assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (
            1,
            1,
            1,
            1,
        )
        assert next(container.decode(video)).rotation == 90
        assert len(container.streams) == (3 if name.endswith(("mp4", "mov")) else 2)
    steps = np.diff([float(t) for t in times_of(out)])
    assert steps == pytest.approx(np.diff(UNEVEN) / 90_000, abs=0.0011)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov"])
def test_times_are_exact_where_the_container_can(tmp_path, name):
    source = make_video(tmp_path / "in.mp4", Clip(times=UNEVEN))
    assert times_of(retouched(source, name)) == [Fraction(t, 90_000) for t in UNEVEN]


def test_sound_is_copied_byte_for_byte(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(frames=30, audio="aac"))
    assert packets_of(retouched(source, "out.mp4"), "audio") == packets_of(source, "audio")
    copied = packets_of(retouched(source, "out.mkv"), "audio")
    assert [data for _, data in copied] == [data for _, data in packets_of(source, "audio")]


def test_sound_that_the_container_cannot_hold_is_encoded_anew(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(frames=60, audio="aac"))
    assert notes(source, "out.webm") == (
        "stream 1 (aac audio) is encoded anew as libopus: webm cannot hold it as it is",
    )
    with av.open(str(tmp_path / "out.webm")) as container:
        audio = container.streams.audio[0]
        assert audio.codec_context.name == "opus"
        assert audio.metadata["language"] == "deu"
        wave = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio)])
    assert 1.9 < len(wave) / 48_000 < 2.1
    # The tone of 440 Hz is still what is heard.
    spectrum = np.abs(np.fft.rfft(wave[9600:57600]))
    assert np.argmax(spectrum) * 48_000 / 48_000 == pytest.approx(440, abs=2)


def with_subtitles_and_attachment(path: Path) -> Path:
    plain = make_video(path.with_name("plain.mkv"), Clip(frames=30))
    with av.open(str(plain)) as whole, av.open(str(path), "w") as container:
        video = container.add_stream_from_template(whole.streams.video[0])
        words = container.add_mux_stream("subrip")
        words.time_base = Fraction(1, 1000)
        words.metadata["language"] = "fra"
        container.add_attachment("letters.ttf", "font/ttf", b"not really a font")
        for packet in whole.demux(video=0):
            if packet.size:
                packet.stream = video
                container.mux(packet)
        for at, text in ((100, b"bonjour"), (600, b"au revoir")):
            packet = av.Packet(text)
            packet.stream, packet.pts, packet.dts, packet.duration = words, at, at, 300
            packet.time_base = Fraction(1, 1000)
            container.mux(packet)
    return path


def test_subtitles_and_attachments_are_copied(tmp_path):
    out = retouched(with_subtitles_and_attachment(tmp_path / "in.mkv"), "out.mkv")
    assert packets_of(out, "subtitle") == [(Fraction(1, 10), b"bonjour"), (Fraction(6, 10), b"au revoir")]
    with av.open(str(out)) as container:
        assert container.streams.subtitles[0].metadata["language"] == "fra"
        letters = next(s for s in container.streams if s.type == "attachment")
        assert letters.data == b"not really a font"


def test_what_the_container_cannot_hold_is_said(tmp_path):
    said = notes(with_subtitles_and_attachment(tmp_path / "in.mkv"), "out.mp4")
    assert len(said) == 2
    assert "(srt subtitle) is left out: mp4 cannot hold it" in said[0]
    assert "(attachment) is left out: mp4 cannot hold it" in said[1]


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "name"),
    [
        ("yuv420p", "libx264", "out.mp4"),
        ("yuv420p10le", "libx264", "out.mkv"),
        ("yuv422p", "libx264", "out.mov"),
        ("yuv444p", "libx264", "out.mp4"),
        ("yuv420p", "ffv1", "out.webm"),
    ],
)
def test_lossless_changes_no_bit_outside_the_face(tmp_path, pix_fmt, codec, name):
    source = make_video(tmp_path / "in.mkv", Clip(pix_fmt=pix_fmt, codec=codec, options={}))
    before, after = planes_of(source), planes_of(retouched(source, name, lossless=True))
    x0, y0, x1, y1 = PATCH
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        for plane, (a, b) in enumerate(zip(old, new, strict=True)):
            scale_y, scale_x = 64 // a.shape[0], 96 // a.shape[1]
            inside = (slice(y0 // scale_y, y1 // scale_y), slice(x0 // scale_x, x1 // scale_x))
            difference = b.astype(int) - a
            assert plane != 0 or np.all(difference[inside] > 0)
            difference[inside] = 0
            assert not difference.any()


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuvj420p", "gray"])
def test_lossless_without_a_face_is_bit_identical(tmp_path, pix_fmt):
    codec = "mjpeg" if pix_fmt == "yuvj420p" else "ffv1"
    tags = (6, 2, 2, 2) if pix_fmt in ("yuvj420p", "gray") else (1, 1, 1, 1)
    source = make_video(tmp_path / "in.mkv", Clip(pix_fmt=pix_fmt, codec=codec, options={}, tags=tags))
    out = retouched(source, "out.mkv", levels=0, lossless=True)
    for old, new in zip(planes_of(source), planes_of(out), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=False))


def test_rgb_sources_stay_rgb_when_lossless(tmp_path):
    source = make_video(tmp_path / "in.mkv", Clip(pix_fmt="bgr0", codec="ffv1", options={}))
    before, after = rgb_frames(source), rgb_frames(retouched(source, "out.mp4", lossless=True))
    fake = FakeRetoucher(40)
    assert all(np.array_equal(fake.process(a), b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 1, 6, 6), (1, 2, 1, 1), (9, 1, 9, 14)])
def test_the_change_has_the_right_colour_whatever_the_matrix(tmp_path, tags):
    clip = Clip(pix_fmt="yuv444p", codec="ffv1", options={}, tags=tags, frames=2)
    source = make_video(tmp_path / "in.mkv", clip)
    before, after = rgb_frames(source)[0], rgb_frames(retouched(source, "out.mkv", lossless=True))[0]
    x0, y0, x1, y1 = PATCH
    change = (after.astype(int) - before)[y0:y1, x0:x1].reshape(-1, 3).mean(axis=0)
    assert change == pytest.approx([40, 0, 0], abs=1.5)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_videos_are_changed_where_they_are_seen(tmp_path, degrees):
    source = make_video(tmp_path / "in.mp4", Clip(rotation=degrees, frames=2))
    out = retouched(source, "out.mp4", lossless=True)
    turns = degrees // 90
    change = np.rot90(rgb_frames(out)[0].astype(int) - rgb_frames(source)[0], turns)[..., 0]
    x0, y0, x1, y1 = PATCH
    assert np.all(change[y0:y1, x0:x1] > 30)
    change[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2] = 0
    assert not change.any()


def test_lossy_video_looks_the_same(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(width=320, height=240))
    before, after = rgb_frames(source), rgb_frames(retouched(source, "out.mp4", levels=0))
    error = np.mean([(a.astype(float) - b) ** 2 for a, b in zip(before, after, strict=True)])
    assert 10 * np.log10(255**2 / error) > 38


@pytest.mark.parametrize(
    ("size", "name"),
    [((16, 16), "out.mp4"), ((97, 65), "out.mp4"), ((97, 65), "out.webm"), ((98, 65), "out.mkv")],
)
def test_small_and_odd_sizes_are_kept(tmp_path, size, name):
    clip = Clip(width=size[0], height=size[1], codec="ffv1", options={}, frames=3)
    source = make_video(tmp_path / "in.mkv", clip)
    said = notes(source, name)
    assert rgb_frames(tmp_path / name)[0].shape == (size[1], size[0], 3)
    odd = name != "out.webm" and size != (16, 16)
    assert len(said) == odd
    assert not odd or "4:4:4 to keep the size" in said[0]


def test_eight_k(tmp_path):
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuvj420p"
        frame = av.VideoFrame(7680, 4320, "yuvj420p")
        for plane in frame.planes:
            np.frombuffer(plane, np.uint8)[:] = 90
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(retouched(tmp_path / "in.mkv", "out.mp4"))) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (7680, 4320)


@pytest.mark.parametrize("view", ["side", "split", "map"])
def test_views_are_upright_and_tagged(tmp_path, view):
    source = make_video(
        tmp_path / "in.mp4",
        Clip(rotation=90, aspect=Fraction(4, 3), pix_fmt="yuv420p10le", tags=(9, 1, 9, 14)),
    )
    out = retouched(source, "out.mp4", view=view)
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        frame = next(container.decode(video))
        assert frame.rotation == 0
        assert (frame.width, frame.height) == ((130, 96) if view == "side" else (64, 96))
        assert video.sample_aspect_ratio == Fraction(3, 4)
        assert video.codec_context.colorspace == 9
        assert frame.format.name == "yuv420p"
    if view == "side":
        left = rgb_frames(out)[0][:, :64].astype(int)
        assert np.abs(left - np.rot90(drawn(0, 96, 64))).mean() < 6


def test_interlaced_video_stays_interlaced(tmp_path):
    options = {"preset": "ultrafast", "x264-params": "tff=1"}
    source = make_video(tmp_path / "in.mp4", Clip(options=options, frames=4))
    with av.open(str(source)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    with av.open(str(retouched(source, "out.mp4"))) as container:
        assert next(container.decode(video=0)).interlaced_frame


def test_no_file_is_touched_when_writing_fails(tmp_path):
    """A limit on the size of files stands for a full disk: the same path through the muxer's error."""
    rng = np.random.default_rng(0)
    (tmp_path / "noise.raw").write_bytes(
        rng.integers(0, 255, 60 * 320 * 240 * 3 // 2, dtype=np.uint8).tobytes()
    )
    program = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from stream.cli import main
from tests.stream.media import FakeRetoucher
words = ["file", {str(tmp_path / "noise.raw")!r}, {str(tmp_path / "out.mp4")!r}, "--size", "320x240"]
sys.exit(main(words, FakeRetoucher))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"vretouch: there is no room left in {tmp_path} after ")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["noise.raw"]


def test_ten_bits_do_not_fit_into_webm(tmp_path):
    source = make_video(tmp_path / "in.mkv", Clip(pix_fmt="yuv420p10le"))
    with pytest.raises(OutputError, match="10 bits a sample, and WebM here holds 8; name the output"):
        retouched(source, "out.webm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


def test_pixels_that_are_not_square_do_not_fit_into_webm(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(aspect=Fraction(4, 3)))
    with pytest.raises(OutputError, match="4/3 as wide as high"):
        retouched(source, "out.webm")


def test_webm_keeps_what_it_can(tmp_path):
    out = retouched(
        make_video(tmp_path / "in.mp4", Clip(chapters=True, rotation=90, times=UNEVEN)), "out.webm"
    )
    assert times_of(out) == [Fraction(round(t / 90), 1000) for t in UNEVEN]
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        assert next(container.decode(video)).rotation == 90
        assert (video.codec_context.colorspace, video.codec_context.color_range) == (1, 1)
        assert [c["metadata"]["title"] for c in container.chapters()] == ["one", "two"]


def test_transparency_that_is_lost_is_said(tmp_path):
    source = make_video(tmp_path / "in.mkv", Clip(pix_fmt="yuva420p", codec="ffv1", options={}))
    assert notes(source, "out.mp4")[0].startswith("transparency is left out")
    # Of VP9, FFmpeg's decoder shows only the colours.
    clear = make_video(tmp_path / "in.webm", Clip(pix_fmt="yuva420p", codec="libvpx-vp9", options={}))
    assert notes(clear, "out.webm")[0].startswith("transparency is left out")
    with av.open(str(tmp_path / "out.webm")) as container:
        assert "alpha_mode" not in {key.lower() for key in container.streams.video[0].metadata}


def test_formats_by_ending_and_by_name():
    assert format_for("a.MP4", None) == "mp4"
    assert format_for("-", None) == "nut"
    assert format_for("a.bin", "matroska") == "matroska"
    for out, named, words in (("a.gif", None, ".gif"), ("a", None, "nothing"), ("a.mp4", "elf", "'elf'")):
        with pytest.raises(OutputError, match=words):
            format_for(out, named)


def test_a_picture_too_large_for_h264_is_refused(tmp_path):
    clip = Clip(width=17000, height=2, codec="ffv1", options={}, frames=1)
    source = make_video(tmp_path / "in.mkv", clip)
    with pytest.raises(OutputError, match=r"would be 17000x2, and H\.264 here ends at 16384"):
        retouched(source, "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


def test_an_encoder_that_refuses_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("stream.encoding.MAX_H264_PX", 99_999)
    clip = Clip(width=17000, height=2, codec="ffv1", options={}, frames=1)
    source = make_video(tmp_path / "in.mkv", clip)
    with pytest.raises(OutputError, match=r"cannot be written \(libx264 with 17000x2 yuv420p"):
        retouched(source, "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


def test_what_was_rgb_is_tagged_as_the_yuv_it_becomes(tmp_path):
    source = make_video(
        tmp_path / "in.mkv", Clip(pix_fmt="bgr0", codec="ffv1", options={}, tags=(0, 2, 1, 1), frames=2)
    )
    out = retouched(source, "out.mp4", levels=0)
    with av.open(str(out)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range, context.color_primaries) == (6, 1, 1)
    assert np.abs(rgb_frames(out)[0].astype(int) - drawn(0, 96, 64)).mean() < 3


@pytest.mark.parametrize("language", ["fra", "fre", "deu", "ger", "ces", "cze", "swe", "eng"])
def test_quicktime_keeps_languages(tmp_path, language):
    kept = {"fre": "fra", "deu": "ger", "cze": "ces", "swe": "sve"}.get(language, language)
    source = make_video(tmp_path / "in.mkv", Clip(audio="aac", frames=3, language=language))
    with av.open(str(retouched(source, "out.mov"))) as container:
        assert container.streams.audio[0].metadata["language"] == kept


def test_encodings():
    lossy = choose_encoding("mp4", "yuv420p", (64, 64), lossless=False, composed=False)
    assert (lossy.codec, lossy.pix_fmt, lossy.native) == ("libx264", "yuv420p", "yuv420p")
    assert lossy.options["crf"] == "18"
    composed = choose_encoding("webm", "yuv420p10le", (64, 64), lossless=False, composed=True)
    assert (composed.codec, composed.pix_fmt, composed.native) == ("libvpx-vp9", "yuv420p", None)
    raw = choose_encoding("nut", "yuv422p", (64, 64), lossless=False, composed=False)
    assert (raw.codec, raw.pix_fmt, raw.native) == ("rawvideo", "yuv422p", "yuv422p")
