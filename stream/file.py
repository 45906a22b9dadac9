"""Retouch a video file: source, retoucher and sink put together, with progress, a summary, and a clean end on
Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np

from stream.compare import Face, compose, view_size
from stream.encoding import choose_encoding, composed_picture, format_for, picture_of
from stream.errors import SourceError
from stream.frame import Box, Frame, RgbImage
from stream.gpu_codecs import check_encoder, kept_on_gpu
from stream.job import INTERRUPTED, PIPE, FileJob
from stream.output import STANDARD_OUTPUT, check_output
from stream.progress import Progress
from stream.runner import SLOTS, Counts, Finished, FrameSink, Pipeline
from stream.sink import Target, VideoSink
from stream.source import VideoSource
from stream.standard import check_standard_output

if TYPE_CHECKING:
    from stream.kernels.launch import Surface

LARGE_PIXELS = 6_000_000
ENCODER_THREADS = 2


class ChangedFace(Face, Protocol):
    """A face, and x0, y0, x1, y1 (the last two exclusive) of what was changed, if anything."""

    @property
    def changed_px(self) -> Box | None: ...


class LastFrame(Protocol):
    """What is read of Retoucher.last."""

    @property
    def faces(self) -> Sequence[ChangedFace]: ...
    @property
    def stage_ms(self) -> dict[str, float]: ...


class FrameRetoucher(Protocol):
    """What is used of stream.Retoucher; tests bring their own."""

    @property
    def last(self) -> LastFrame: ...
    def locate(self, frame_rgb_u8: RgbImage, pts_s: float | None = None) -> Any: ...
    def step(self, located: Any) -> Any: ...
    def composite(self, frame_rgb_u8: RgbImage, stepped: Any) -> RgbImage: ...
    def process(self, frame_rgb_u8: RgbImage, pts_s: float | None = None) -> RgbImage: ...


@runtime_checkable
class SurfaceRetoucher(FrameRetoucher, Protocol):
    """One that also retouches frames where they lie on a GPU; see stream.device.DeviceRetoucher."""

    def fits(self, shape: tuple[int, ...]) -> bool: ...
    def locate(
        self, frame_rgb_u8: RgbImage, pts_s: float | None = None, *, surface: Surface | None = None
    ) -> Any: ...


MakeRetoucher = Callable[[], AbstractContextManager[FrameRetoucher]]


@dataclass(frozen=True)
class FileReport:
    """What was done. stage_ms: mean ms a frame of each of the retoucher's stages. interrupted: ended by
    Ctrl-C."""

    out: str
    counts: Counts
    stage_ms: dict[str, float]
    notes: tuple[str, ...]
    interrupted: bool


@dataclass(frozen=True)
class Halfway:
    """A frame on its way, and what the retoucher's `locate` or `step` made of it."""

    frame: Frame
    made: Any


class FrameWork:
    """The retoucher's part: faces are located as frames are decoded, the network steps in a thread of its
    own, and the frame is composited where it is encoded."""

    def __init__(self, retoucher: FrameRetoucher, view: str | None) -> None:
        self.retoucher, self._view = retoucher, view
        self.frames = 0
        self.with_face = 0
        self._stage_ms: dict[str, float] = {}

    def located(self, frames: Iterable[Frame]) -> Iterator[Halfway]:
        """The frames, in order, with their faces located."""
        for frame in frames:
            yield Halfway(frame, self._locate(frame))

    def _locate(self, frame: Frame) -> Any:
        if frame.surface is None:
            return self.retoucher.locate(frame.rgb_u8, frame.pts_s)
        assert isinstance(self.retoucher, SurfaceRetoucher)
        return self.retoucher.locate(frame.rgb_u8, frame.pts_s, surface=frame.surface)

    def step(self, located: Halfway) -> Halfway:
        """One frame's faces through the network."""
        return Halfway(located.frame, self.retoucher.step(located.made))

    def finish(self, stepped: Halfway) -> Finished:
        """The retouched frame, in a view if there is one."""
        frame = stepped.frame
        retouched = self.retoucher.composite(frame.rgb_u8, stepped.made)
        last = self.retoucher.last
        self.frames += 1
        self.with_face += bool(last.faces)
        for stage, spent_ms in last.stage_ms.items():
            self._stage_ms[stage] = self._stage_ms.get(stage, 0.0) + spent_ms
        # What was retouched on a GPU lies in the frame already.
        changed = changed_boxes(last.faces) if frame.surface is None else ()
        if self._view is None:
            return Finished(frame, retouched, changed)
        view = compose(self._view, frame.rgb_u8, retouched, last.faces, changed=bool(changed))
        return Finished(frame, view, ())

    @property
    def stage_ms(self) -> dict[str, float]:
        """Mean ms a frame of each stage."""
        return {stage: total / max(1, self.frames) for stage, total in self._stage_ms.items()}


def changed_boxes(faces: Sequence[ChangedFace]) -> tuple[Box, ...]:
    """Disjoint boxes outside which the faces changed nothing."""
    return _disjoint([face.changed_px for face in faces if face.changed_px is not None])


def _disjoint(boxes: list[Box]) -> tuple[Box, ...]:
    """Boxes that touch are joined, with room for the chroma grid between those that do not."""
    kept: list[Box] = []
    for box in boxes:
        while near := [other for other in kept if _near(box, other)]:
            kept = [other for other in kept if other not in near]
            group = np.array([box, *near])
            (x0, y0), (x1, y1) = group[:, :2].min(axis=0), group[:, 2:].max(axis=0)
            box = (int(x0), int(y0), int(x1), int(y1))
        kept.append(box)
    return tuple(kept)


def _near(box: Box, other: Box, apart: int = 4) -> bool:
    across = box[0] - apart < other[2] and other[0] - apart < box[2]
    return across and box[1] - apart < other[3] and other[1] - apart < box[3]


def retouch_video(job: FileJob, make_retoucher: MakeRetoucher) -> FileReport:
    """Run the job. Raises VretouchError with one sentence if it cannot be done; then nothing is left at
    `out`."""
    if job.out != PIPE:
        check_output(job.out, job.source, job.force)
    else:
        check_standard_output()
    form = format_for(job.out, job.format)
    with (
        Interrupts() as asked,
        asked.opened(
            lambda: VideoSource(
                job.source, job.span, job.raw, lambda: asked.asked, job.decoder, stay=job.stays_on_gpu
            )
        ) as source,
        make_retoucher() as retoucher,
    ):
        sink = _open_sink(job, form, source, retoucher)
        asked.remove = sink.remove
        return _run(job, source, retoucher, sink, asked)


def _open_sink(job: FileJob, form: str, source: VideoSource, retoucher: FrameRetoucher) -> VideoSink:
    info = source.info
    target = Target(job.out, job.source, job.force, ENCODER_THREADS)
    if job.view is None:
        size, picture = (info.width, info.height), picture_of(info)
    else:
        upright = size = (info.width, info.height)
        if info.orientation.turns_cw % 2:
            upright = (info.height, info.width)
        size = view_size(job.view, *upright)
        picture = composed_picture(info, size)
    encoding = choose_encoding(
        form,
        info.native,
        size,
        lossless=job.lossless,
        composed=job.view is not None,
        info=info,
        encoder=job.encoder,
    )
    if job.stays_on_gpu and encoding.native == "yuv420p" and _stay(source, retoucher):
        encoding = kept_on_gpu(encoding, picture)
    if not encoding.on_gpu:
        check_encoder(encoding, picture)
    return VideoSink(target, encoding, picture, source)


def _stay(source: VideoSource, retoucher: FrameRetoucher) -> bool:
    """Whether frames can be retouched where they were decoded."""
    shape = (source.info.height, source.info.width)
    return source.stays_on_gpu and isinstance(retoucher, SurfaceRetoucher) and retoucher.fits(shape)


def _run(
    job: FileJob, source: VideoSource, retoucher: FrameRetoucher, sink: VideoSink, interrupts: Interrupts
) -> FileReport:
    work = FrameWork(retoucher, job.view)
    try:
        native, on_gpu = sink.encoding.native, sink.encoding.on_gpu
        counts = run_frames(source, work, sink, native, interrupts, quiet=job.quiet, on_gpu=on_gpu)
        interrupted = interrupts.asked
        sink.finish(() if interrupted else source.trailing)
    except BaseException:
        sink.abandon()
        raise
    return FileReport(job.out, counts, work.stage_ms, notes_of(source, sink, interrupted), interrupted)


def run_frames(
    source: VideoSource,
    work: FrameWork,
    sink: FrameSink,
    native: str | None,
    interrupts: Interrupts,
    *,
    quiet: bool = False,
    on_gpu: bool = False,
) -> Counts:
    """Every frame of the source through the work into the sink, with progress on standard error.

    native, on_gpu: see VideoSource.frames. Raises KeyboardInterrupt if stopped before the first frame was
    written.
    """
    progress = Progress(sys.stderr, source.info.frames, quiet=quiet)
    # Few very large frames hold as much as many small ones.
    slots = SLOTS if source.info.width * source.info.height < LARGE_PIXELS else 1
    try:
        counts = Pipeline(
            work.located(source.frames(native, on_gpu=on_gpu)),
            work.step,
            work.finish,
            sink,
            slots=slots,
            on_frame=lambda counts: progress.update(counts.frames),
            stopped=lambda: interrupts.asked,
        ).run()
    finally:
        progress.clear()
    if interrupts.asked and counts.frames == 0:
        raise KeyboardInterrupt
    counts.with_face = work.with_face
    return counts


def notes_of(source: VideoSource, sink: VideoSink, interrupted: bool) -> tuple[str, ...]:
    """What the user should know beside the figures."""
    notes = [*sink.notes, *([] if interrupted else source.notes)]
    if sink.skipped_packets:
        notes.append(f"{sink.skipped_packets} packets beside the video had no usable time and were left out")
    return tuple(notes)


class Interrupts:
    """While inside, the first Ctrl-C (or SIGTERM) sets `asked`; the second ends the process at once after
    `remove`.

    Signals reach only the main thread; in another this does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self.remove: Callable[[], None] = lambda: None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def opened(self, open_source: Callable[[], VideoSource]) -> VideoSource:
        """The source; KeyboardInterrupt where it could not be opened because it was not waited for."""
        try:
            return open_source()
        except SourceError:
            if self.asked:
                raise KeyboardInterrupt from None
            raise

    def _on_signal(self, *_: Any) -> None:
        if self.asked:
            self.remove()
            # Threads may be inside the encoder, which must not be closed under them.
            os._exit(INTERRUPTED)
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def report_lines(report: FileReport) -> list[str]:
    """The summary for the user: a line for what was done, then one for each thing to know."""
    counts, ms = report.counts, report.stage_ms
    what = "stopped early, playable" if report.interrupted else "done"
    named = STANDARD_OUTPUT if report.out == PIPE else report.out
    frames = f"{counts.frames} frame{'s' * (counts.frames != 1)}"
    faces = f"face in {counts.with_face}" if counts.with_face else "no face"
    lines = [
        f"{named}: {what}, {frames}, {faces}, {counts.fps:.1f} frames/s",
        f"ms a frame: decode and locate {counts.mean_ms('decode'):.1f}, "
        f"step {counts.mean_ms('work'):.1f}, composite and encode {counts.mean_ms('encode'):.1f}"
        f"; by stage {', '.join(f'{stage} {ms[stage]:.1f}' for stage in ms if stage != 'total')}",
    ]
    if counts.frames and not counts.with_face:
        lines.append(
            f"no face found in {frames}: {'they' if counts.frames > 1 else 'it'} passed through untouched"
        )
    return lines + list(report.notes)
