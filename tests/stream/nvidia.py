"""Stand-ins for NVIDIA's decoder and encoder: frames lie in this machine's memory, and codecs of the CPU do
the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from stream import gpu_codecs, sink, source
from stream.native import plane_arrays
from stream.source import VideoSource

NVDEC = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le"}
_COPIED = ("pts", "time_base", "duration", "colorspace", "color_range", "color_primaries", "color_trc")


def as_nvdec(native: Any) -> av.VideoFrame:
    """The frame as NVDEC gives it: U and V by turns in one plane, ten bits at the top of sixteen."""
    # Converted for what goes with it, as where chroma lies; the planes are written by hand.
    out = native.reformat(format=NVDEC[native.format.name])
    shift, dtype = (6, np.uint16) if out.format.name == "p010le" else (0, np.uint8)
    luma, *chroma = plane_arrays(native)
    to = [
        np.frombuffer(plane, dtype).reshape(-1, plane.line_size // np.dtype(dtype).itemsize)
        for plane in out.planes
    ]
    to[0][: native.height, : native.width] = luma << shift
    for number, plane in enumerate(chroma):
        rows, columns = plane.shape
        to[1][:rows, number : 2 * columns : 2] = plane << shift
    for name in _COPIED:
        setattr(out, name, getattr(native, name))
    return out


class CudaFrame:
    """A frame as PyAV gives it that lies on a GPU. held: the same in this machine's memory."""

    def __init__(self, held: av.VideoFrame) -> None:
        self.__dict__["held"] = held

    def __getattr__(self, name: str) -> Any:
        return getattr(self.held, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.held, name, value)

    @property
    def format(self) -> Any:
        return SimpleNamespace(name="cuda")

    @property
    def sw_format(self) -> Any:
        return self.held.format

    @property
    def planes(self) -> tuple[Any, ...]:
        """Their memory is the GPU's: an address, and no buffer."""
        return tuple(
            SimpleNamespace(buffer_ptr=plane.buffer_ptr, line_size=plane.line_size)
            for plane in self.held.planes
        )

    def reformat(self, *, format: str, threads: int) -> av.VideoFrame:
        """A copy in the host's memory."""
        assert (format, threads) == (self.held.format.name, 1)
        # There and back, for what goes with it, as how it is turned; the planes are copied by hand.
        copy = self.held.reformat(format="yuv420p").reformat(format=format)
        for to, plane in zip(copy.planes, self.held.planes, strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            np.frombuffer(to, np.uint8).reshape(-1, to.line_size)[:, : rows.shape[1]] = rows[
                :, : to.line_size
            ]
        for name in _COPIED:
            setattr(copy, name, getattr(self.held, name))
        return copy


class Nvidia:
    """A card with both codecs. opened: what they were opened for; decoded: frames that were left on it;
    encoded: what the encoder was given. no_memory: the encoder takes frames from the host alone; before: runs
    before a frame is encoded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.opened: list[Any] = []
        self.decoded: list[CudaFrame] = []
        self.encoded: list[Any] = []
        self.no_memory = False
        self.before: Callable[[int], None] = lambda _: None
        real_open, real_frames, real_sink = av.open, VideoSource._frames_of, sink.VideoSink._open
        card = self

        def opened(*words: Any, hwaccel: Any = None, **named: Any) -> Any:
            return real_open(*words, **named)

        def frames_of(source: VideoSource, packet: Any) -> Iterator[Any]:
            for native in real_frames(source, packet):
                yield card._decoded(as_nvdec(native), source._stay) if source._on_gpu else native

        patch.setattr(source.av, "open", opened)
        patch.setattr(source, "nvdec", self._nvdec)
        patch.setattr(source, "is_on_gpu", lambda _: True)
        patch.setattr(VideoSource, "_frames_of", frames_of)
        patch.setattr(gpu_codecs, "_open", self._tried)
        patch.setattr(gpu_codecs, "HWAccel", lambda *words, options: (words, options))
        patch.setattr(sink.VideoSink, "_open", lambda self: _Container(real_sink(self), card))

    def _nvdec(self, *, stay: bool) -> str:
        self.opened.append("stay" if stay else "come")
        return "the GPU"

    def _decoded(self, held: av.VideoFrame, stay: bool) -> Any:
        if not stay:
            return held
        self.decoded.append(CudaFrame(held))
        return self.decoded[-1]

    def _tried(self, encoding: Any, picture: Any) -> None:
        del picture
        self.opened.append(encoding.pix_fmt)
        if encoding.on_gpu and self.no_memory:
            raise av.error.ExternalError(-542398533, "Generic error in an external library", None)


class _Container:
    """A container whose video goes through an encoder of the CPU in NVENC's place, without loss."""

    def __init__(self, container: Any, card: Nvidia) -> None:
        self._container, self._card = container, card

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_stream(self, codec: str, *, options: Any = None, hwaccel: Any = None, **named: Any) -> Any:
        if codec != "h264_nvenc":
            more = {} if options is None else {"options": options}
            return self._container.add_stream(codec, **more, **named)
        self._card.opened.append(hwaccel)
        stream = self._container.add_stream("libx264", options={"qp": "0"}, **named)
        return _Stream(stream, self._card)


class _Stream:
    def __init__(self, stream: Any, card: Nvidia) -> None:
        self.__dict__.update(_stream=stream, _card=card)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._stream, name, value)

    def encode(self, frame: Any) -> Any:
        if frame is not None:
            self._card.before(len(self._card.encoded))
            self._card.encoded.append(frame)
        return self._stream.encode(frame.held if isinstance(frame, CudaFrame) else frame)
