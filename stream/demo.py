"""The demo: a built-in clip or a video of the user's, retouched, and compared in a video and a still.

`make demo` runs `python -m stream.demo [IN]`. The clip is one picture (see bench/demo_face.py) set in smooth
motion.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from stream.compare import caption, compose, map_view, view_size
from stream.crop import FACE_PX
from stream.encoding import Picture, choose_encoding, composed_picture, picture_of
from stream.file import (
    FileReport,
    FrameRetoucher,
    FrameWork,
    Halfway,
    Interrupts,
    MakeRetoucher,
    notes_of,
    report_lines,
    run_frames,
)
from stream.frame import ColourTags, Frame, RgbImage
from stream.job import INTERRUPTED, is_image
from stream.output import OutputError, OutputFile, write_error
from stream.runner import Finished
from stream.sink import Target, VideoSink
from stream.source import VideoSource

WIDTH, HEIGHT, FPS, SECONDS = 960, 720, 30, 6
ASSET = "astronaut-raw.png"
STILL = "compare.png"
_TAGS = ColourTags(1, 1, 1, 1)
_HEAD_PX = (545.0, 330.0)
"""Middle of the head in the asset."""
_REACH_PX = 300.0
_HEADROOM_PX = 25.0
_NOISE_LEVELS = 1.0
_STILL_AFTER_S = 2.0
_PANEL_PX = 480


def clip_frames(frames: int = FPS * SECONDS) -> Iterator[RgbImage]:
    """The built-in clip, uint8 [720, 960, 3] RGB: head sways, nods, turns a little and comes nearer; light
    and camera noise vary. The same on every run."""
    picture = _asset()
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x += (width - WIDTH) / 2
    y += (height - HEIGHT) / 2 - _HEADROOM_PX
    near = np.exp(-0.5 * ((x - _HEAD_PX[0]) ** 2 + (y - _HEAD_PX[1]) ** 2) / _REACH_PX**2)
    noise = np.random.default_rng(5)
    for index in range(frames):
        map_x, map_y = _motion(index / FPS, x, y, near)
        seen = cv2.remap(picture, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        light = 1.0 + 0.02 * np.sin(2 * np.pi * 0.23 * index / FPS)
        grain = noise.normal(0.0, _NOISE_LEVELS, (HEIGHT, WIDTH, 1)).astype(np.float32)
        yield np.clip(np.rint(seen * np.float32(light) + grain), 0, 255).astype(np.uint8)


def _asset() -> npt.NDArray[np.uint8]:
    packed = np.frombuffer((resources.files("stream") / "assets" / ASSET).read_bytes(), np.uint8)
    picture = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _motion(
    t_s: float, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], near: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where each pixel of the frame at t_s lies in the asset: a similarity about the head, fading out away
    from it."""

    def wave(hertz: float, phase: float) -> float:
        return float(np.sin(2 * np.pi * hertz * t_s + phase))

    shift_x = 20.0 * wave(0.21, 0.0) + 6.0 * wave(0.53, 1.0)
    shift_y = 11.0 * wave(0.37, 0.6) + 4.0 * wave(0.81, 2.0)
    angle = np.deg2rad(2.6 * wave(0.29, 0.9))
    zoom = 1.0 + 0.035 * wave(0.16, 4.2)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    dx, dy = x - _HEAD_PX[0], y - _HEAD_PX[1]
    to_x = cos * dx + sin * dy - dx - shift_x
    to_y = -sin * dx + cos * dy - dy - shift_y
    return (x + near * to_x).astype(np.float32), (y + near * to_y).astype(np.float32)


def write_clip(path: Path, frames: int = FPS * SECONDS) -> None:
    """Write the built-in clip."""
    base = Fraction(1, FPS)
    encoding = choose_encoding("mp4", None, (WIDTH, HEIGHT), lossless=False, composed=True)
    picture = Picture(WIDTH, HEIGHT, base, Fraction(FPS), _TAGS)
    sink = VideoSink(Target(str(path), force=True), encoding, picture)
    try:
        for index, rgb in enumerate(clip_frames(frames)):
            sink.write(Frame(rgb, index, base, duration=1), rgb, ())
        sink.finish()
    except BaseException:
        sink.abandon()
        raise


class _DemoWork(FrameWork):
    """FrameWork that keeps one frame with a face, for the still."""

    def __init__(self, retoucher: FrameRetoucher) -> None:
        super().__init__(retoucher, None)
        self.still: RgbImage | None = None

    def finish(self, stepped: Halfway) -> Finished:
        """As FrameWork's, with a look at the faces."""
        finished = super().finish(stepped)
        frame, faces = stepped.frame, self.retoucher.last.faces
        early = frame.pts_s < _STILL_AFTER_S
        if faces and (self.still is None or (early and self.frames % 15 == 0)):
            self.still = still_of(frame.rgb_u8, finished.rgb_u8, self.retoucher)
        return finished


def still_of(raw: RgbImage, retouched: RgbImage, retoucher: FrameRetoucher) -> RgbImage:
    """Three panels of the first face, uint8 [480, 1440, 3]: raw, retouched, and what was found."""
    face = retoucher.last.faces[0]
    panels = []
    for picture, words in (
        (raw, "raw"),
        (retouched, "retouched"),
        (map_view(retouched, retoucher.last.faces), "what was found"),
    ):
        zoom = _PANEL_PX / FACE_PX
        matrix = zoom * face.alignment
        panel = cv2.warpAffine(
            picture, matrix, (_PANEL_PX, _PANEL_PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        caption(np.asarray(panel, np.uint8), words, (12, _PANEL_PX - 14), 22)
        panels.append(panel)
    return np.asarray(cv2.hconcat(panels), np.uint8)


class _Both:
    """Two sinks as one: the retouched video, and the comparison."""

    def __init__(self, retouched: VideoSink, compared: VideoSink) -> None:
        self._sinks = (retouched, compared)
        self.retouched = retouched
        self.native = retouched.encoding.native

    def write(
        self, frame: Frame, retouched_rgb_u8: RgbImage, changed: Sequence[tuple[int, int, int, int]]
    ) -> None:
        """Encode the frame in both."""
        first, second = self._sinks
        first.write(frame, retouched_rgb_u8, changed)
        side = compose("side", frame.rgb_u8, retouched_rgb_u8, (), changed=bool(changed))
        second.write(Frame(side, frame.pts, frame.time_base, duration=frame.duration), side, ())

    def finish(self, trailing: Sequence[object]) -> None:
        """Close both; the packets after the last frame belong to the first."""
        first, second = self._sinks
        first.finish(trailing)
        second.finish()

    def abandon(self) -> None:
        """Leave neither."""
        for sink in self._sinks:
            sink.abandon()


def demo(source: str | None, out_dir: str, make_retoucher: MakeRetoucher) -> int:
    """Write the demo's files into out_dir, which is made if need be, and say what was done. Returns the
    exit code."""
    made = not Path(out_dir).exists()
    folder = _folder(out_dir)
    try:
        return _demo_into(folder, source, make_retoucher)
    except BaseException:
        if made:
            with suppress(OSError):  # what is in it, an earlier part of this run has finished
                folder.rmdir()
        raise


def _demo_into(folder: Path, source: str | None, make_retoucher: MakeRetoucher) -> int:
    if source is not None and is_image(source):
        return _demo_still(source, folder, make_retoucher)
    if source is None:
        source = str(folder / "raw.mp4")
        print(f"writing the built-in clip to {source}")
        write_clip(Path(source))
    report = _demo_video(source, folder, make_retoucher)
    for line in report_lines(report):
        print(line)
    _say_next(folder, source)
    return INTERRUPTED if report.interrupted else 0


def _folder(out_dir: str) -> Path:
    folder = Path(out_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be made ({error.strerror}); name another with --out"
        ) from error
    return folder


def _demo_video(source: str, folder: Path, make_retoucher: MakeRetoucher) -> FileReport:
    with (
        Interrupts() as interrupts,
        interrupts.opened(lambda: VideoSource(source, stopped=lambda: interrupts.asked)) as video,
        make_retoucher() as retoucher,
    ):
        both = _open_both(source, folder, video)
        work = _DemoWork(retoucher)
        try:
            counts = run_frames(video, work, both, both.native, interrupts)
            interrupted = interrupts.asked
            both.finish(() if interrupted else video.trailing)
        except BaseException:
            both.abandon()
            raise
        if work.still is None:
            # That of an earlier run shows something else.
            (folder / STILL).unlink(missing_ok=True)
        else:
            _save(work.still, folder / STILL)
        out = str(folder / "retouched.mp4")
        return FileReport(
            out, counts, work.stage_ms, notes_of(video, both.retouched, interrupted), interrupted
        )


def _open_both(source: str, folder: Path, video: VideoSource) -> _Both:
    info = video.info
    size = (info.width, info.height)
    plain = choose_encoding("mp4", info.native, size, lossless=False, composed=False, info=info)
    retouched = VideoSink(
        Target(str(folder / "retouched.mp4"), source, force=True), plain, picture_of(info), video
    )
    try:
        upright = size[::-1] if info.orientation.turns_cw % 2 else size
        wide = view_size("side", *upright)
        encoding = choose_encoding("mp4", info.native, wide, lossless=False, composed=True, info=info)
        target = Target(str(folder / "compare.mp4"), source, force=True)
        return _Both(retouched, VideoSink(target, encoding, composed_picture(info, wide)))
    except BaseException:
        retouched.abandon()
        raise


def _save(picture_rgb_u8: RgbImage, path: Path) -> None:
    packed = cv2.imencode(".png", cv2.cvtColor(picture_rgb_u8, cv2.COLOR_RGB2BGR))[1]
    file = OutputFile(str(path), force=True)
    try:
        file.part.write_bytes(packed.tobytes())
    except OSError as error:
        file.discard()
        raise write_error(error, str(path)) from error
    file.commit()


def _demo_still(source: str, folder: Path, make_retoucher: MakeRetoucher) -> int:
    from stream.still import retouch_still

    for name, view in (("retouched.png", None), ("compare.png", "side")):
        for line in retouch_still(source, str(folder / name), make_retoucher, view=view, force=True):
            print(line)
    return 0


def _say_next(folder: Path, source: str) -> None:
    made = [str(path) for path in (folder / "compare.mp4", folder / STILL) if path.exists()]
    print(f"\nLook at   {'   and   '.join(made)}")
    print("Try next")
    print("  make demo IN=path/to/video.mp4                   the same with your own file")
    print(
        "  vretouch file IN OUT --compare split             before and after in one picture, video or image"
    )
    print(f"  vretouch file {shlex.quote(source)} OUT.mp4 --strength 0.5")
    print("  vretouch doctor                                  what this machine has and what is missing")


if __name__ == "__main__":
    from stream.cli import main

    sys.exit(main(["demo", *sys.argv[1:]]))
