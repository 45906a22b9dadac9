"""Decode a video: upright RGB frames in order, each with its time and its own planes. Reading half of av's
adapter."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.error
import numpy as np
from av.container import InputContainer

from stream.errors import SourceError, reason_of
from stream.frame import Frame, Orientation, VideoInfo, orientation_from_matrix
from stream.gpu_codecs import in_host_memory, is_on_gpu, left_there, nvdec, surface_of
from stream.job import CPU, PIPE, RawVideo, Span
from stream.native import is_picture, native_format, planar_of, refuse, rgb_of, tags_of
from stream.standard import can_seek, standard_input
from stream.wholeness import check_whole

CLOSE_WAIT_S = 1.0
_NOT_MOVING = ("image2", "_pipe", "tty", "bin", "xbin", "adf", "idf")
_CLOCK_OF_ITS_OWN = ("mpegts", "mpeg", "rtsp", "rtp")


class VideoSource:
    """One video being read; use as a context manager. `frames` is read once, by one thread.

    stopped: asked while standard input says nothing; once true, the video ends there. decoder: one of
    DECODERS. stay: leave frames on the GPU that decodes them, if it can be (see `stays_on_gpu`).
    """

    def __init__(
        self,
        name: str,
        span: Span | None = None,
        raw: RawVideo | None = None,
        stopped: Callable[[], bool] = lambda: False,
        decoder: str = CPU,
        *,
        stay: bool = False,
    ) -> None:
        self.label = "standard input" if name == PIPE else name
        self.span = span or Span()
        self._raw, self._stopped = raw, stopped
        self._seekable = name != PIPE or can_seek()
        self._damaged_packets = 0
        self.trailing: list[Any] = []
        if name != PIPE and "://" not in name:
            check_whole(name, in_part=self.span.duration_s is not None)
        self._on_gpu, self._stay = decoder != CPU, stay
        self._container = self._open(standard_input(stopped) if name == PIPE else local_name(name))
        self._declared_s = (self._container.duration or 0) / 1e6
        self._last_pts: int | None = None
        self._last_duration = 0
        self._beside_end_s = 0.0
        self._saw_frames = False
        self._beside: list[Any] = []
        self._reading = threading.Lock()
        try:
            self.video = self._pick_video()
            self.video.thread_type = "NONE" if self._on_gpu else "AUTO"
            self._seek()
            self._decoded = self._decode()
            self._first = self._first_frame()
            self.info = self._describe(self._on_host(self._first))
        except BaseException:
            self.close()
            raise

    def _open(self, file: Any) -> InputContainer:
        options: dict[str, str] = {}
        raw = self._raw
        if raw is not None:
            size = f"{raw.size[0]}x{raw.size[1]}"
            options = {"video_size": size, "framerate": str(raw.fps), "pixel_format": raw.pix_fmt}
        kind = "rawvideo" if raw is not None else None
        hwaccel = nvdec(stay=self._stay) if self._on_gpu else None
        try:
            container: InputContainer = av.open(
                file, "r", format=kind, options=options, metadata_errors="replace", hwaccel=hwaccel
            )
            return container
        except FileNotFoundError:
            raise SourceError(f"there is no file {self.label}; check the name and the folder") from None
        except PermissionError:
            raise SourceError(f"{self.label} cannot be read (permission denied); check its rights") from None
        except (av.error.FFmpegError, ValueError, OSError) as error:
            if raw is not None:
                raise SourceError(self._not_raw(error)) from None
            raise SourceError(
                f"{self.label} is not a video that can be read ({reason_of(error)}); "
                "give a video, or an image by its ending"
            ) from None
        except RuntimeError:  # PyAV's word for no stream that is decoded on the GPU
            if not self._on_gpu:
                raise
            raise SourceError(self._not_on_gpu()) from None

    def _not_on_gpu(self) -> str:
        return f"the video in {self.label} is of a codec that no GPU decodes; leave out --decoder cuda"

    def _not_raw(self, error: BaseException) -> str:
        return (
            f"{self.label} cannot be read as whole frames of {self._raw} ({reason_of(error)}); "
            "check --size, --fps, --pix-fmt and where it ends"
        )

    def _pick_video(self) -> Any:
        kind = self._container.format.name
        if any(kind == word or kind.endswith(word) for word in _NOT_MOVING):
            raise SourceError(
                f"{self.label} is not a video (it reads as {kind}); give an image by its own ending"
            )
        moving = [s for s in self._container.streams.video if not is_picture(s)]
        if not moving:
            raise SourceError(f"{self.label} has no video in it; give a file with pictures in motion")
        usable = [s for s in moving if s.codec_context is not None]
        if not usable:
            raise SourceError(
                f"the video in {self.label} is of a codec that PyAV cannot decode; convert it first"
            )
        if self._on_gpu and not is_on_gpu(usable[0]):
            raise SourceError(self._not_on_gpu())
        return usable[0]

    @property
    def stays_on_gpu(self) -> bool:
        """Whether frames can be had where they were decoded: on a GPU, as NV12 and upright."""
        return self.info.orientation.plain and surface_of(self._first, self.info.tags) is not None

    @property
    def companions(self) -> list[Any]:
        """The other streams, in the file's order: audio, subtitles, attachments, data, cover pictures."""
        return [s for s in self._container.streams if s.index != self.video.index]

    @property
    def metadata(self) -> dict[str, str]:
        """Tags of the whole file."""
        return dict(self._container.metadata)

    @property
    def chapters(self) -> list[Any]:
        """Chapters on the output's clock, cut to the span."""
        kept = []
        for chapter in self._container.chapters():
            base = chapter["time_base"] or Fraction(1, 1000)
            start, end = (max(0, chapter[key] - round(self.shift_s / base)) for key in ("start", "end"))
            if self.span.duration_s is not None:
                end = min(end, round(Fraction(self.span.duration_s) / base))
            if end > start or self.span.whole:
                kept.append({**chapter, "start": start, "end": end})
        return kept

    @property
    def notes(self) -> list[str]:
        """What was wrong with the input, once its frames were read."""
        notes = []
        if count := self._damaged_packets:
            packets, were = ("packets", "were") if count > 1 else ("packet", "was")
            notes.append(f"{count} damaged {packets} of {self.label} {were} left out")
        return notes + self._early_end()

    def _early_end(self) -> list[str]:
        """A damaged container can hide the rest of a video from its reader, who then sees nothing but an
        end."""
        declared_s = self._declared_s
        if not self.span.whole or self._last_pts is None:
            return []
        reached_s = float((self._last_pts + self._last_duration) * self.info.time_base)
        if declared_s - max(reached_s, self._beside_end_s) <= max(0.5, 0.02 * declared_s):
            return []
        return [f"{self.label} says it is {declared_s:.2f} s long, but its frames end at {reached_s:.2f} s"]

    @cached_property
    def shift_s(self) -> Fraction:
        """What is taken off every time stamp: the span's start, and the start of clocks that begin
        anywhere."""
        return self._origin_s + Fraction(self.span.start_s).limit_denominator(1_000_000)

    @property
    def _origin_s(self) -> Fraction:
        anywhere = self._container.format.name in _CLOCK_OF_ITS_OWN
        return Fraction(self._container.start_time or 0, 1_000_000) if anywhere else Fraction(0)

    def _seek(self) -> None:
        # A pipe cannot seek, and loses what it tried on: there, what comes before is decoded and left out.
        if self.span.start_s > 0.0 and self._seekable:
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.seek(int(self.shift_s * 1_000_000))

    def _first_frame(self) -> Any:
        for native in self._decoded:
            return native
        if self._saw_frames or self.span.start_s > 0.0:
            raise SourceError(
                f"{self.label} has no frame from {self.span.start_s:g} s on; give an earlier --start or a "
                "longer --duration"
            )
        raise SourceError(
            f"not one frame of {self.label} could be decoded; get a whole copy, or {self._otherwise}"
        )

    @property
    def _otherwise(self) -> str:
        """What to try with a video that is not decoded."""
        return "leave out --decoder cuda" if self._on_gpu else "convert it first"

    def _describe(self, native: Any) -> VideoInfo:
        """VideoInfo from the stream and its first frame; refuses what would be damaged."""
        name, context = native.format.name, self.video.codec_context
        tags = tags_of(native, context.name)
        refuse(self.label, native, tags)
        matrix = native.side_data.get("DISPLAYMATRIX")
        numbers = None if matrix is None else np.frombuffer(bytes(matrix), np.int32)[:9].copy()
        rate = self.video.average_rate or self.video.guessed_rate or Fraction(30)
        return VideoInfo(
            width=native.width,
            height=native.height,
            codec=context.name,
            pix_fmt=name,
            native=native_format(native),
            time_base=self.video.time_base or Fraction(1, 90_000),
            rate=Fraction(rate),
            frames=self._expected(Fraction(rate)),
            aspect=context.sample_aspect_ratio or None,
            tags=tags,
            orientation=Orientation() if numbers is None else orientation_from_matrix(numbers),
            display_matrix=numbers,
            interlaced=bool(native.interlaced_frame),
            # FFmpeg's own VP8 and VP9 decoders leave transparency out.
            alpha=any(c.is_alpha for c in native.format.components)
            or self.video.metadata.get("alpha_mode") == "1",
        )

    def _expected(self, rate: Fraction) -> int:
        """How many frames to expect; 0 if nobody says."""
        total_s = (
            self.video.duration and self.video.time_base and float(self.video.duration * self.video.time_base)
        )
        if not total_s:
            total_s = (self._container.duration or 0) / 1e6
        if self.span.whole:
            return int(self.video.frames or round(total_s * rate))
        left_s = max(0.0, total_s - self.span.start_s)
        if self.span.duration_s is not None:
            left_s = min(left_s, self.span.duration_s) if total_s else self.span.duration_s
        return max(1, round(left_s * rate)) if left_s else 0

    def _decode(self) -> Iterator[Any]:
        """Decoded frames inside the span; packets of other streams go to self._beside, on the output's
        clock."""
        wanted = [s for s in self._container.streams if s.type != "attachment"]
        packets = self._container.demux(*wanted)
        while (packet := self._next_packet(packets)) is not None:
            if packet.stream.index != self.video.index:
                if packet.dts is not None and self._inside(
                    packet.pts if packet.pts is not None else packet.dts, packet
                ):
                    self._beside.append(self._shifted(packet))
                    end = (packet.pts or packet.dts) + (packet.duration or 0)
                    self._beside_end_s = max(self._beside_end_s, float(end * packet.time_base))
                continue
            if packet.dts is not None and self._past(packet.dts, packet.time_base, slack_s=1.0):
                return
            yield from self._frames_of(packet)

    def _next_packet(self, packets: Iterator[Any]) -> Any:
        try:
            return next(packets, None)
        except (av.error.FFmpegError, OSError) as error:
            if self._stopped():
                return None
            # Most MP4 files have their index at the end, out of a pipe's reach.
            advice = "get a whole copy" if self._seekable else "name the file instead of piping it"
            raise SourceError(
                f"{self.label} cannot be read to its end ({reason_of(error)}); {advice}"
            ) from None

    def _frames_of(self, packet: Any) -> Iterator[Any]:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            self._damaged_packets += 1
            return
        except av.error.FFmpegError as error:
            if self._stopped():
                return
            if self._raw is not None:
                raise SourceError(self._not_raw(error)) from None
            raise self._undecoded(error) from None
        for native in frames:
            self._saw_frames = True
            if self._timed(native):
                yield native

    def _undecoded(self, error: BaseException) -> SourceError:
        return SourceError(
            f"the video in {self.label} cannot be decoded ({reason_of(error)}); {self._otherwise}"
        )

    def _on_host(self, native: Any) -> Any:
        try:
            return in_host_memory(native)
        except av.error.FFmpegError as error:
            raise self._undecoded(error) from None

    def _timed(self, native: Any) -> bool:
        """Put the frame on the output's clock; whether it lies inside the span. Times never stand still or go
        back."""
        base = native.time_base = native.time_base or self.video.time_base
        step = max(1, round(1 / (Fraction(self.video.average_rate or 30) * base)))
        pts = native.pts if native.pts is not None else native.dts
        inside = pts is None or self._inside(pts, native)
        pts = None if pts is None else pts - round(self.shift_s / base)
        if inside:
            if pts is None or (self._last_pts is not None and pts <= self._last_pts):
                pts = 0 if self._last_pts is None else self._last_pts + (step if pts is None else 1)
            native.pts = self._last_pts = pts
            self._last_duration = native.duration or step
        return inside

    def _inside(self, pts: int, timed: Any) -> bool:
        if self.span.whole:
            return True
        # Half a microsecond of grace: the span comes as a decimal number, the stamp as a fraction.
        after_start = (pts * timed.time_base) - self.shift_s > -Fraction(1, 2_000_000)
        return after_start and not self._past(pts, timed.time_base)

    def _past(self, pts: int, time_base: Fraction, slack_s: float = 0.0) -> bool:
        if self.span.duration_s is None:
            return False
        return float(pts * time_base - self.shift_s) >= self.span.duration_s + slack_s - 5e-7

    def _shifted(self, packet: Any) -> Any:
        ticks = round(self.shift_s / packet.time_base)
        if ticks:
            packet.dts -= ticks
            packet.pts = None if packet.pts is None else packet.pts - ticks
        return packet

    def frames(self, native_as: str | None, *, on_gpu: bool = False) -> Iterator[Frame]:
        """The frames in order. native_as: the planar format to keep them in (a key of LAYOUTS), None for RGB
        alone. on_gpu: leave those where they were decoded that are as the first, if that `stays_on_gpu`."""
        native = self._first
        while native is not None:
            arrival_ns = time.monotonic_ns()
            beside, self._beside = self._beside, []
            frame = self._frame(self._on_host(native), native_as, arrival_ns, beside)
            yield left_there(frame, native, self.info) if on_gpu else frame
            with self._reading:
                native = next(self._decoded, None)
        self.trailing, self._beside = self._beside, []

    def _frame(self, native: Any, native_as: str | None, arrival_ns: int, beside: list[Any]) -> Frame:
        info = self.info
        planar = planar_of(native, info, native_as)
        rgb = rgb_of(planar, info.tags)
        return Frame(
            rgb_u8=info.orientation.upright(rgb),
            pts=native.pts,
            time_base=native.time_base,
            arrival_ns=arrival_ns,
            orientation=info.orientation,
            duration=native.duration or 0,
            native=planar if native_as else None,
            beside=beside,
        )

    def close(self) -> None:
        """Let go of the file. It stays open under a thread that is still reading: closing it there would
        crash."""
        if self._reading.acquire(timeout=CLOSE_WAIT_S):
            self._container.close()
            self._reading.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def local_name(name: str) -> str:
    """The name for av, to which `a:b.mp4` would be a protocol."""
    return name if "://" in name else str(Path(name).absolute())
