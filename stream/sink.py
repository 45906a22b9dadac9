"""Encode a video: residuals onto the frames' own planes, everything else copied. Writing half of av's
adapter."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av
import av.error
import cv2
import numpy as np

from stream.encoding import H264, H264_RGB, VP9, Encoding, Picture, language_for
from stream.frame import Box, ColourTags, Frame, RgbImage
from stream.gpu_codecs import memory_of
from stream.job import PIPE
from stream.native import plane_arrays
from stream.output import STANDARD_OUTPUT, OutputFile, write_error
from stream.planes import FULL, LAYOUTS, LIMITED, add_residual_to_planes, matrix_of, rgb_to_yuv
from stream.source import VideoSource

_STALE_TAGS = (
    "DURATION",
    "BPS",
    "NUMBER_OF_",
    "_STATISTICS_",
    "MAJOR_BRAND",
    "MINOR_VERSION",
    "COMPATIBLE_BRANDS",
    "ENCODER",
    "ALPHA_MODE",
)
AUDIO_CODECS = {"webm": "libopus", "mpegts": "aac", "mp4": "aac", "mov": "aac", "matroska": "libopus"}
_NO_COMPANIONS = ("rawvideo", "yuv4mpegpipe")
MAX_THREADS = 4


@dataclass(frozen=True)
class Target:
    """Where to write. out: a path, or - for standard output; source: the input's path, which is never written
    over; aside: see OutputFile."""

    out: str
    source: str | None = None
    force: bool = False
    threads: int = 2
    aside: bool = False


@dataclass
class Track:
    """A companion stream: copied, or decoded and encoded anew where `resampler` is set."""

    out: Any
    resampler: Any = None
    last_dts: int | None = None
    began: bool = False


class VideoSink:
    """One video being written. `write` every frame in order, then `finish`; or `abandon`, which leaves
    nothing."""

    def __init__(
        self, target: Target, encoding: Encoding, picture: Picture, beside: VideoSource | None = None
    ) -> None:
        self.encoding, self.picture = encoding, picture
        self.notes: list[str] = list(encoding.notes)
        self.frames = 0
        self.skipped_packets = 0
        self._durations: dict[int, int] = {}
        self._name = STANDARD_OUTPUT if target.out == PIPE else target.out
        self._file = (
            None
            if target.out == PIPE
            else OutputFile(target.out, target.source, target.force, aside=target.aside)
        )
        try:
            self._container = self._open()
            self._video = self._add_video(target.threads)
            self._tracks = self._add_tracks(beside)
            self._container.start_encoding()
        except Exception as error:
            self.abandon()
            raise self._explained(error) from error
        except BaseException:
            self.abandon()
            raise
        self._to_yuv = rgb_to_yuv(picture.tags, picture.height)

    def _open(self) -> Any:
        file = sys.stdout.buffer if self._file is None else str(self._file.part)
        # An MP4 that cannot be seeked is written in fragments.
        pipe_mp4 = self._file is None and self.encoding.format in ("mp4", "mov")
        options = {"movflags": "frag_keyframe+empty_moov"} if pipe_mp4 else {}
        self._container = None
        return av.open(file, "w", format=self.encoding.format, container_options=options)

    def _add_video(self, threads: int) -> Any:
        picture, encoding = self.picture, self.encoding
        # YUV4MPEG2 has no times, and takes the clock's tick for the length of a frame.
        tick = 1 / picture.rate if encoding.format == "yuv4mpegpipe" else picture.time_base
        stream: Any = self._container.add_stream(
            encoding.codec,
            rate=picture.rate,
            options=dict(encoding.options),
            hwaccel=memory_of(encoding),
            time_base=tick,
        )
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, encoding.pix_fmt
        context = stream.codec_context
        if picture.aspect is not None:
            context.sample_aspect_ratio = picture.aspect
        context.colorspace, context.color_range = self._tags.matrix, self._tags.range
        context.color_primaries, context.color_trc = self._tags.primaries, self._tags.transfer
        context.thread_count = min(threads, MAX_THREADS)
        if picture.interlaced and encoding.codec == H264:
            context.flags |= av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me
        if picture.display_matrix is not None:
            stream.set_display_matrix(picture.display_matrix)
        return stream

    @property
    def _tags(self) -> ColourTags:
        """The picture's tags; RGB samples are full range and have no matrix."""
        tags = self.picture.tags
        if self.encoding.codec == H264_RGB or self.encoding.pix_fmt in ("gbrp", "rgb24"):
            return ColourTags(0, FULL, tags.primaries, tags.transfer)
        return tags

    def _add_tracks(self, beside: VideoSource | None) -> dict[int, Track]:
        """What stands beside the video, by the source's number of the stream."""
        return {} if beside is None else self._add_companions(beside)

    def _add_companions(self, source: VideoSource) -> dict[int, Track]:
        self._container.metadata.update(_fresh(source.metadata))
        with_chapters = self.encoding.format in ("mp4", "mov", "matroska", "webm")
        if source.chapters and with_chapters:
            self._container.set_chapters(source.chapters)
        self._video.metadata.update(_fresh(source.video.metadata))
        self._video.disposition = source.video.disposition
        tracks = {}
        for stream in source.companions:
            if source.chapters and _carries_chapters(stream):
                continue
            track = self._add_companion(stream)
            if track is not None:
                tags = _fresh(stream.metadata)
                if "language" in tags:
                    tags["language"] = language_for(self.encoding.format, tags["language"])
                track.out.metadata.update(tags)
                track.out.disposition = stream.disposition
                tracks[stream.index] = track
        return tracks

    def _add_companion(self, stream: Any) -> Track | None:
        """Copy the stream if the container holds its like, else encode it anew if it is audio, else say
        so."""
        if holds(self.encoding.format, stream):
            return Track(self._container.add_stream_from_template(stream, opaque=True))
        codec = AUDIO_CODECS.get(self.encoding.format)
        if stream.type == "audio" and codec and stream.codec_context is not None:
            return self._add_audio(stream, codec)
        kind = stream.codec_context.name if stream.codec_context is not None else stream.type
        if stream.type != kind:
            kind = f"{kind} {stream.type}"
        self.notes.append(
            f"stream {stream.index} ({kind}) is left out: {self.encoding.format} cannot hold it"
        )
        return None

    def _add_audio(self, stream: Any, codec: str) -> Track:
        rate = 48_000 if codec == "libopus" else stream.codec_context.sample_rate
        out = self._container.add_stream(codec, rate=rate)
        out.layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
        names = stream.codec_context.name, out.codec_context.name
        said = f"stream {stream.index} ({names[0]} audio) is encoded anew as {names[1]}"
        self.notes.append(f"{said}: {self.encoding.format} cannot hold it as it is")
        resampler = av.AudioResampler(out.codec_context.format, out.layout, rate, frame_size=960)
        return Track(out, resampler)

    @property
    def out(self) -> str:
        """Where it is written: the path, another one if it was put aside, or - for standard output."""
        return PIPE if self._file is None else str(self._file.path)

    def write(self, frame: Frame, retouched_rgb_u8: RgbImage, changed: Sequence[Box]) -> None:
        """Encode one frame. retouched_rgb_u8: uint8 [H, W, 3] upright; changed: boxes of upright pixels
        outside which it is equal to frame.rgb_u8 (used where the planes are kept)."""
        try:
            self._write_beside(frame.beside)
            native = self._native(frame, retouched_rgb_u8, changed)
            native.pts, native.time_base, native.duration = frame.pts, frame.time_base, frame.duration
            # The decoder's I, P and B would be taken for orders.
            native.pict_type = 0
            if frame.duration:
                self._durations[frame.pts] = frame.duration
            self._mux_video(native)
            self.frames += 1
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._explained(error) from error

    def _mux_video(self, native: Any) -> None:
        """Encode and mux; encoders forget how long a frame is shown, which matters for the last one."""
        for packet in self._video.encode(native):
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    def _native(self, frame: Frame, retouched_rgb_u8: RgbImage, changed: Sequence[Box]) -> Any:
        """The frame in the encoder's format with the change put on its own planes, or made from RGB."""
        if self.encoding.native is None or frame.native is None:
            return self._from_rgb(retouched_rgb_u8)
        native = frame.native
        if changed:
            native.make_writable()
            planes, layout = plane_arrays(native), LAYOUTS[self.encoding.native]
            for box in changed:
                part = _grown(box, frame)
                residual, origin = _stored_residual(frame, retouched_rgb_u8, part)
                add_residual_to_planes(planes, residual, origin, layout, self._to_yuv)
        return native

    def _from_rgb(self, rgb_u8: RgbImage) -> Any:
        native = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb_u8), format="rgb24")
        if self.encoding.pix_fmt == "rgb24":
            return native
        if self.encoding.pix_fmt == "gbrp":
            return native.reformat(format="gbrp", threads=1)
        tags = self.picture.tags
        matrix = matrix_of(tags, self.picture.height)
        full = tags.range or LIMITED
        return native.reformat(
            format=self.encoding.pix_fmt,
            dst_colorspace=matrix,
            src_color_range=FULL,
            dst_color_range=full,
            threads=1,
        )

    def _write_beside(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            track = self._tracks.get(packet.stream.index)
            if track is None:
                continue
            if track.resampler is not None:
                self._reencode(track, packet)
            elif self._in_order(track, packet):
                packet.stream = track.out
                self._container.mux(packet)

    def _in_order(self, track: Track, packet: Any) -> bool:
        """Containers refuse time stamps that go back; such packets are left out and counted."""
        back = track.last_dts is not None and packet.dts <= track.last_dts
        if back and (packet.dts < (track.last_dts or 0) or packet.stream.type == "audio"):
            self.skipped_packets += 1
            return False
        track.last_dts = packet.dts
        return True

    def _reencode(self, track: Track, packet: Any) -> None:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            self.skipped_packets += 1
            return
        for frame in frames:
            for even in track.resampler.resample(frame):
                self._mux(track.out.encode(even))

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            self._container.mux(packet)

    def finish(self, trailing: Sequence[Any] = ()) -> None:
        """Write what is still held back (and packets after the last frame), close, and put the file in its
        place."""
        try:
            self._write_beside(trailing)
            self._mux_video(None)
            for track in self._tracks.values():
                if track.resampler is not None:
                    for rest in track.resampler.resample(None):
                        self._mux(track.out.encode(rest))
                    self._mux(track.out.encode(None))
            self._container.close()
            if self._file is None:
                sys.stdout.buffer.flush()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.abandon()
            raise self._explained(error) from error
        if self._file is not None:
            self._file.commit()

    def abandon(self) -> None:
        """Stop writing and leave nothing behind."""
        if self._container is not None:
            # Whatever it says, the file is removed.
            with contextlib.suppress(Exception):
                self._container.close()
        if self._file is not None:
            self._file.discard()

    def remove(self) -> None:
        """Remove the unfinished file and touch nothing else; for an end without ceremony."""
        if self._file is not None:
            self._file.discard()

    def _explained(self, error: Exception) -> Exception:
        """The same error as a sentence."""
        done = f" after {self.frames} frames" if self.frames else ""
        if getattr(error, "errno", None) and isinstance(error, OSError):
            return write_error(error, self._name, done)
        encoding, picture = self.encoding, self.picture
        return write_error(
            OSError(f"{encoding.codec} with {picture.width}x{picture.height} {encoding.pix_fmt}: {error}"),
            self._name,
            done,
        )


def holds(format: str, stream: Any) -> bool:
    """Whether a container of this format can hold a copy of the stream: tried in memory."""
    if format in _NO_COMPANIONS:
        return False
    try:
        with av.open(io.BytesIO(), "w", format=format) as scratch:
            copy: Any = scratch.add_stream_from_template(stream, opaque=True)
            copy.disposition = stream.disposition
            scratch.start_encoding()
            return True
    except (av.error.FFmpegError, ValueError, OSError):
        return False


def _carries_chapters(stream: Any) -> bool:
    """Whether this is the text track that MP4 keeps its chapters in; the muxer writes a new one."""
    said = stream.metadata.get("handler_name")
    return bool(stream.type == "data" and stream.name == "bin_data" and said == "SubtitleHandler")


def _fresh(tags: dict[str, str]) -> dict[str, str]:
    """Tags without those that the new file gets of its own."""
    return {key: value for key, value in tags.items() if not key.upper().startswith(_STALE_TAGS)}


def _grown(box: Box, frame: Frame) -> Box:
    """The upright box with two pixels around it that lie in the frame, room to reach whole chroma samples."""
    height, width = frame.rgb_u8.shape[:2]
    return max(0, box[0] - 2), max(0, box[1] - 2), min(width, box[2] + 2), min(height, box[3] + 2)


def _stored_residual(frame: Frame, retouched_rgb_u8: RgbImage, box: Box) -> tuple[Any, tuple[int, int]]:
    """Residual float32 [h, w, 3] in stored orientation on the chroma grid, and its origin in stored
    pixels."""
    x0, y0, x1, y1 = box
    change = cv2.subtract(retouched_rgb_u8[y0:y1, x0:x1], frame.rgb_u8[y0:y1, x0:x1], dtype=cv2.CV_32F)
    stored = frame.orientation.stored(np.asarray(change))
    left, top, _, _ = frame.orientation.stored_box(box, frame.rgb_u8.shape)
    # The first row or column is one of the two added ones, or lies on the grid already at the frame's edge.
    return stored[top % 2 :, left % 2 :], (left + left % 2, top + top % 2)


def codecs_present() -> dict[str, bool]:
    """Which of the codecs that the default use needs, and the optional ones, this PyAV has."""
    wanted = {
        "H.264 encoder": (H264, "w"),
        "H.264 decoder": ("h264", "r"),
        "HEVC decoder": ("hevc", "r"),
        "VP9 encoder": (VP9, "w"),
        "VP9 decoder": ("vp9", "r"),
        "AV1 decoder": ("libdav1d", "r"),
        "FFV1 decoder": ("ffv1", "r"),
        "AAC encoder": ("aac", "w"),
        "AAC decoder": ("aac", "r"),
        "Opus encoder": ("libopus", "w"),
    }
    return {name: _has_codec(codec, mode) for name, (codec, mode) in wanted.items()}


def _has_codec(name: str, mode: Any) -> bool:
    try:
        av.codec.Codec(name, mode)
    except av.codec.codec.UnknownCodecError:
        return False
    return True
