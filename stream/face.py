"""Find faces and their landmarks: the one adapter of mediapipe 0.10.14, whose wheel holds the models.

FaceModels has two stateless functions of an image: `detect` (full-range BlazeFace, then the short-range one
for faces that fill the picture) and `landmarks_px` (468 landmarks of one region). Both drive mediapipe's own
subgraphs with regions of our choosing, so that tracking, smoothing and the size of what is looked at stay in
our hands: a face of any size in a frame of any size costs one 192x192 inference.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import invert, transform, warp
from stream.errors import FaceModelError

LANDMARKS = 468
MESH_PX = 192
DETECT_MAX_PX = 640
ROI_SCALE = 1.5
MIN_ROI_PX = 8.0

# The graphs run on the calling thread: handing a 2 ms inference to another one costs more than it gains.
_MESH_GRAPH = """
executor { type: "ApplicationThreadExecutor" }
input_stream: "image"
input_stream: "roi"
output_stream: "found"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  output_stream: "LANDMARKS:found"
}
"""
_DETECT_GRAPH = """
executor {{ type: "ApplicationThreadExecutor" }}
input_stream: "image"
output_stream: "found"
node {{ calculator: "FaceDetection{kind}Cpu" input_stream: "IMAGE:image" output_stream: "DETECTIONS:found" }}
"""
_RIGHT_EYE_CORNER, _LEFT_EYE_CORNER = 33, 263
_NATIVE_NOISE_LOCK = threading.Lock()


@dataclass(frozen=True)
class Roi:
    """A turned square of the frame: centre and side in frame pixels, angle in radians, clockwise."""

    cx_px: float
    cy_px: float
    side_px: float
    angle: float

    def to_window(self, window_px: int) -> npt.NDArray[np.float64]:
        """float64 [2, 3] taking frame pixels to those of this square's upright picture."""
        scale = window_px / self.side_px
        cos, sin = scale * math.cos(self.angle), scale * math.sin(self.angle)
        middle = (window_px - 1) / 2.0
        return np.array(
            [
                [cos, sin, middle - cos * self.cx_px - sin * self.cy_px],
                [-sin, cos, middle + sin * self.cx_px - cos * self.cy_px],
            ]
        )


@dataclass(frozen=True)
class Detection:
    """One detected face: box_px float32 [4] (x0, y0, x1, y1) in frame pixels, score in [0, 1], region."""

    box_px: npt.NDArray[np.float32]
    score: float
    roi: Roi


class FaceFinder(Protocol):
    """What tracking needs of face models; FaceModels is the real one, tests bring scripted ones."""

    def detect(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> list[Detection]:
        """Detections in frame pixels, best score first."""
        ...

    def landmarks_px(self, frame_rgb_u8: npt.NDArray[np.uint8], roi: Roi) -> npt.NDArray[np.float32] | None:
        """Landmarks float32 [468, 2] in frame pixels of the face in the region, or None."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


@contextlib.contextmanager
def _native_stderr_silenced() -> Iterator[None]:
    """Drop what native code writes to file descriptor 2: TensorFlow Lite announces itself there."""
    with _NATIVE_NOISE_LOCK:
        sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:
            yield
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(sink)


def _import_mediapipe() -> None:
    """Import mediapipe whole, or as a bare package where its plotting and audio libraries are absent.

    Its __init__ pulls in matplotlib, sounddevice and more for drawing and other tasks; the graphs need none
    of them.
    """
    try:
        import mediapipe  # noqa: F401
    except ImportError:
        spec = importlib.util.find_spec("mediapipe")
        if spec is None or spec.submodule_search_locations is None:
            raise
        bare = ModuleType("mediapipe")
        bare.__path__ = list(spec.submodule_search_locations)
        bare.__spec__ = spec
        sys.modules["mediapipe"] = bare


class _Graph:
    """One running mediapipe graph with input stream(s) and the single output stream `found`."""

    def __init__(self, config: str) -> None:
        try:
            with _native_stderr_silenced():
                self._start(config)
        except (ImportError, RuntimeError, ValueError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise FaceModelError(
                f"the face models of mediapipe could not be started ({reason}); "
                "install the version this program is made for: pip install mediapipe==0.10.14"
            ) from error

    def _start(self, config: str) -> None:
        _import_mediapipe()
        from mediapipe.framework.formats import detection_pb2, rect_pb2
        from mediapipe.python import packet_creator
        from mediapipe.python._framework_bindings import (
            _packet_getter,
            calculator_graph,
            image_frame,
            resource_util,
        )

        resource_util.set_resource_dir(str(Path(packet_creator.__file__).parents[2]))
        self.detection_type, self.rect_type = detection_pb2.Detection, rect_pb2.NormalizedRect
        self._create, self._format, self._read = packet_creator, image_frame.ImageFormat.SRGB, _packet_getter
        self._time = 0
        self._found: Any = None
        self._graph = calculator_graph.CalculatorGraph(graph_config=config)
        self._graph.observe_output_stream("found", self._keep, True)
        self._graph.start_run({})
        # The first inference builds the interpreter, and that is when the native log speaks.
        blank = np.zeros((MESH_PX, MESH_PX, 3), np.uint8)
        self.run(blank, self.whole() if "roi" in config else None)

    def _keep(self, _name: str, packet: Any) -> None:
        self._found = packet

    def whole(self) -> Any:
        """The region that is the whole image."""
        return self.rect_type(x_center=0.5, y_center=0.5, width=1.0, height=1.0, rotation=0.0)

    def run(self, image_rgb_u8: npt.NDArray[np.uint8], roi: Any = None) -> Any:
        """Run once; the raw packet of `found`, or None."""
        self._time += 1
        self._found = None
        packet = self._create.create_image_frame(image_format=self._format, data=image_rgb_u8)
        self._graph.add_packet_to_input_stream("image", packet.at(self._time))
        if roi is not None:
            self._graph.add_packet_to_input_stream("roi", self._create.create_proto(roi).at(self._time))
        self._graph.wait_until_idle()
        found = self._found
        return None if found is None or found.is_empty() else found

    def one(self, packet: Any) -> bytes:
        """The serialised message in a packet."""
        return bytes(self._read._get_serialized_proto(packet))

    def many(self, packet: Any) -> list[bytes]:
        """The serialised messages in a packet that holds a vector of them."""
        return list(self._read._get_serialized_proto_list(packet))

    def close(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()


class FaceModels:
    """The detectors and the mesh of mediapipe, started together. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._mesh = _Graph(_MESH_GRAPH)
        self._detectors = [_Graph(_DETECT_GRAPH.format(kind=kind)) for kind in ("FullRange", "ShortRange")]

    def landmarks_px(self, frame_rgb_u8: npt.NDArray[np.uint8], roi: Roi) -> npt.NDArray[np.float32] | None:
        """Landmarks float32 [468, 2] (x, y) in frame pixels, or None where no face is in the region.

        frame_rgb_u8: uint8 [H, W, 3] RGB. The region is warped upright to 192x192, antialiased, so the cost
        does not depend on the frame's size.
        """
        if not math.isfinite(roi.side_px) or roi.side_px < MIN_ROI_PX:
            return None
        to_window = roi.to_window(MESH_PX)
        window = warp(frame_rgb_u8, to_window, (MESH_PX, MESH_PX))
        packet = self._mesh.run(window, self._mesh.whole())
        if packet is None:
            return None
        inside = _landmark_list(self._mesh.one(packet)) * MESH_PX  # [468, 2]
        return transform(inside, invert(to_window))

    def detect(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> list[Detection]:
        """Detections in frame pixels, best score first. frame_rgb_u8: uint8 [H, W, 3] RGB of any size.

        The full-range detector sees small faces in wide frames; where it sees none, the other is asked.
        """
        height, width = frame_rgb_u8.shape[:2]
        small = _shrunk(frame_rgb_u8)
        for graph in self._detectors:
            packet = graph.run(small)
            messages = graph.many(packet) if packet is not None else []
            if messages:
                found = [_detection(graph.detection_type, m, width, height) for m in messages]
                return sorted(found, key=_score, reverse=True)
        return []

    def close(self) -> None:
        """Stop the graphs."""
        for graph in (self._mesh, *self._detectors):
            graph.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _score(detection: Detection) -> float:
    return detection.score


def _landmark_list(message: bytes) -> npt.NDArray[np.float64]:
    """float64 [468, 2] from a serialised NormalizedLandmarkList, whose entries are all 17 bytes long.

    An entry is tag, length and three tagged floats; building 468 message objects instead takes 1 ms.
    """
    entry = np.dtype(
        [("tag", "u1", 2), ("tx", "u1"), ("x", "<f4"), ("ty", "u1"), ("y", "<f4"), ("tz", "u1"), ("z", "<f4")]
    )
    if len(message) % entry.itemsize:
        raise FaceModelError(
            f"mediapipe sent {len(message)} bytes of landmarks, not a multiple of {entry.itemsize}; "
            "install the version this program is made for: pip install mediapipe==0.10.14"
        )
    rows = np.frombuffer(message, entry)[:LANDMARKS]
    return np.stack([rows["x"], rows["y"]], axis=1).astype(np.float64)


def _shrunk(frame_rgb_u8: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A contiguous copy of the frame, its longer side at most DETECT_MAX_PX."""
    height, width = frame_rgb_u8.shape[:2]
    ratio = DETECT_MAX_PX / max(height, width)
    if ratio >= 1.0:
        return np.ascontiguousarray(frame_rgb_u8)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(cv2.resize(frame_rgb_u8, size, interpolation=cv2.INTER_AREA), np.uint8)


def _detection(detection_type: Any, message: bytes, width: int, height: int) -> Detection:
    parsed = detection_type.FromString(message)
    place = parsed.location_data
    box = place.relative_bounding_box
    x0, y0 = box.xmin * width, box.ymin * height
    box_w, box_h = box.width * width, box.height * height
    right, left = place.relative_keypoints[0], place.relative_keypoints[1]
    angle = math.atan2((left.y - right.y) * height, (left.x - right.x) * width)
    roi = Roi(x0 + box_w / 2, y0 + box_h / 2, ROI_SCALE * max(box_w, box_h), angle)
    box_px = np.array([x0, y0, x0 + box_w, y0 + box_h], np.float32)
    return Detection(box_px, float(parsed.score[0]), roi)


def roi_around(landmarks_px: npt.NDArray[np.float32]) -> Roi:
    """The region to look at next: the landmarks' square, upright to the eyes, ROI_SCALE times as large."""
    across = landmarks_px[_LEFT_EYE_CORNER] - landmarks_px[_RIGHT_EYE_CORNER]
    angle = math.atan2(float(across[1]), float(across[0]))
    cos, sin = math.cos(angle), math.sin(angle)
    turned = landmarks_px.astype(np.float64) @ np.array([[cos, -sin], [sin, cos]])
    low, high = turned.min(axis=0), turned.max(axis=0)
    mid = (low + high) / 2.0
    side = ROI_SCALE * float((high - low).max())
    return Roi(cos * mid[0] - sin * mid[1], sin * mid[0] + cos * mid[1], max(side, 1e-3), angle)


def box_around(landmarks_px: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 [4]: x0, y0, x1, y1 around the landmarks, in frame pixels."""
    return np.concatenate([landmarks_px.min(axis=0), landmarks_px.max(axis=0)]).astype(np.float32)
