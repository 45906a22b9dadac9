"""Record a live stream into a file: each picture and each sound at its own time, whole whenever it ends."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from stream.broadcast.sender import BT709, Shown, even_size
from stream.broadcast.sound import AUDIO_KBPS, AUDIO_RATE, EvenSound
from stream.encoding import Encoding, Picture, choose_encoding, format_for
from stream.frame import ColourTags, Frame
from stream.job import PIPE
from stream.live.fit import fitted
from stream.live.slot import Newest
from stream.output import OutputError, check_output
from stream.planes import LIMITED
from stream.sink import AUDIO_CODECS, Target, Track, VideoSink
from stream.source import VideoSource
from stream.standard import check_standard_output

TICK = Fraction(1, 1000)
POLL_S = 0.1
ROOM_BYTES = 100_000_000
# An encoder holds back so many pictures, lossless ones almost as large as they are raw, until the end.
HELD_PICTURES = 16
# A container's index, written at the end, has so many bytes a picture with its sound.
INDEX_BYTES = 64
AUDIO_KEPT_S = 30.0
NO_TIMES = ("rawvideo", "yuv4mpegpipe")
SOUND = -1


@dataclass(frozen=True)
class Recording:
    """What is recorded where. out: a path, or - for standard output. format: of the container, else by out's
    ending. size: of the pictures, by default the first one's. fps: at most so many a second."""

    out: str
    format: str | None = None
    size: tuple[int, int] | None = None
    fps: float = 30.0
    lossless: bool = False
    force: bool = False

    def check(self) -> str:
        """The container's name; OutputError for what cannot be recorded so."""
        if self.out == PIPE:
            check_standard_output()
        else:
            check_output(self.out, None, self.force)
        form = format_for(self.out, self.format)
        if form in NO_TIMES:
            raise OutputError(
                f"{form} holds no times, without which a live stream plays at the wrong speed; "
                "choose mp4, mov, matroska, webm, mpegts or nut"
            )
        return form


class Recorder:
    """One recording, in a thread of its own: put pictures into `pictures`, sound through `sound`.

    The file is begun with the first picture; its time is 0. Of pictures that come faster than they can be
    encoded the newest is taken; while none comes nothing is written, and the next one stands at its own time.
    audio: whether there is sound, asked when the first picture is there. After `finish`, or an error after
    the first picture, the file stands whole in its place. frames, seconds: recorded so far. full: the disk
    has no room for more. error: why it ended by itself. kept: where the file stands, None if there is none.
    """

    def __init__(
        self, recording: Recording, audio: Callable[[], bool], say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.pictures: Newest[Shown] = Newest()
        self.frames = 0
        self.seconds = 0.0
        self.full = False
        self.error: Exception | None = None
        self.kept: str | None = None
        self._recording, self._audio, self._say = recording, audio, say
        self._form = recording.check()
        self._sound: deque[tuple[Any, float]] = deque(maxlen=round(AUDIO_KEPT_S * AUDIO_RATE / 1024))
        self._sink: RecordingSink | None = None
        self._began_s = 0.0
        self._shape: tuple[int, ...] = ()
        self._deaf = False
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def sound(self, frame: Any, at_s: float) -> None:
        """An av.AudioFrame and the time of its first sample, seconds of the monotonic clock; never waits."""
        self._sound.append((frame, at_s))

    def finish(self) -> None:
        """Write what has come, and put the file in its place."""
        self._finishing.set()
        self._thread.join()

    def remove(self) -> None:
        """Leave nothing behind, at once; for an end without ceremony."""
        if self._sink is not None:
            self._sink.remove()

    def _run(self) -> None:
        try:
            self._record()
        except Exception as error:
            self.error = error
        try:
            self._end()
        except Exception as error:
            self.error = self.error or error
        self.pictures.close()

    def _end(self) -> None:
        """Put in its place what was recorded, also after an error."""
        if self._sink is None:
            return
        if not self.frames:
            self._sink.abandon()
            return
        self._sink.finish()
        self.kept = self._sink.out
        if self.kept != self._recording.out:
            self._say(
                f"{self._recording.out} appeared while it was being recorded; the recording is {self.kept}"
            )

    def _record(self) -> None:
        while not self.full:
            shown = self.pictures.take(POLL_S)
            if shown is None and self._finishing.is_set():
                return
            if shown is not None:
                self._write(shown)
            self._write_sound()
            self._look_for_room()

    def _write(self, shown: Shown) -> None:
        if self._sink is None:
            self._began_s = shown.at_s
            self._sink = self._open(shown)
        self._tell_size(shown)
        pts = round((shown.at_s - self._began_s) / TICK)
        # Containers take no two pictures at one time.
        if self.frames and pts <= round(self.seconds / TICK):
            return
        picture = fitted(shown.rgb_u8, (self._sink.picture.width, self._sink.picture.height))
        self._sink.write(Frame(picture, pts, TICK), picture, ())
        self.frames += 1
        self.seconds = float(pts * TICK)

    def _open(self, shown: Shown) -> RecordingSink:
        recording = self._recording
        size = even_size(recording.size or (shown.rgb_u8.shape[1], shown.rgb_u8.shape[0]))
        encoding = choose_encoding(self._form, None, size, lossless=recording.lossless, composed=True)
        tags = ColourTags(BT709, LIMITED, BT709, BT709)
        picture = Picture(*size, TICK, Fraction(recording.fps).limit_denominator(1001), tags)
        target = Target(recording.out, None, recording.force, aside=True)
        return RecordingSink(target, encoding, picture, sound=self._audio())

    def _tell_size(self, shown: Shown) -> None:
        shape, before = shown.rgb_u8.shape, self._shape
        self._shape = shape
        if before and before != shape:
            assert self._sink is not None
            made = self._sink.picture
            self._say(
                f"the source now is {shape[1]}x{shape[0]}; it is fitted into the recording's "
                f"{made.width}x{made.height}"
            )

    def _write_sound(self) -> None:
        while self._sink is not None and self._sound:
            frame, at_s = self._sound.popleft()
            self._sink.sound(frame, at_s - self._began_s)
            if not self._sink.with_sound and not self._deaf:
                self._deaf = True
                self._say("the source has sound now, which the recording began without; it is left out")

    def _look_for_room(self) -> None:
        """A file that cannot be ended for want of room would be lost as a whole."""
        if self._sink is None or self._recording.out == PIPE:
            return
        folder = Path(self._recording.out).absolute().parent
        picture = self._sink.picture
        held = HELD_PICTURES * 3 * picture.width * picture.height
        if shutil.disk_usage(folder).free < ROOM_BYTES + held + INDEX_BYTES * self.frames:
            self.full = True
            self._say(f"there is hardly any room left in {folder}; the recording ends here, whole")


class RecordingSink(VideoSink):
    """A VideoSink for what a live stream decodes: pictures in RGB, and sound if there is any."""

    def __init__(self, target: Target, encoding: Encoding, picture: Picture, *, sound: bool) -> None:
        self.with_sound = sound
        super().__init__(target, encoding, picture)

    def _add_tracks(self, beside: VideoSource | None) -> dict[int, Track]:
        if not self.with_sound:
            return super()._add_tracks(beside)
        out = self._container.add_stream(AUDIO_CODECS.get(self.encoding.format, "pcm_s16le"), rate=AUDIO_RATE)
        out.layout = "stereo"
        out.bit_rate = 1000 * AUDIO_KBPS
        self._even = EvenSound(out)
        return {SOUND: Track(out, self._even.resampler)}

    def sound(self, frame: Any, at_s: float) -> None:
        """Encode an av.AudioFrame whose first sample stands at at_s seconds of the recording; see
        EvenSound."""
        track = self._tracks.get(SOUND)
        if track is None:
            return
        try:
            for even in self._even.frames(frame, at_s):
                self._mux(track.out.encode(even))
            track.resampler = self._even.resampler
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._explained(error) from error


def recording_lines(recorder: Recorder, out: str) -> list[str]:
    """What was recorded, for people."""
    lost = recorder.pictures.dropped
    left = f", {lost} more could not be encoded in time" if lost else ""
    return [f"{recorder.kept or out}: {recorder.frames} pictures in {recorder.seconds:.1f} s{left}"]
