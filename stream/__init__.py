"""vretouch: causal, real-time face retouching of a live video stream.

from stream import Retoucher
with Retoucher() as r:
    retouched = r.process(frame_rgb_u8)
"""

from stream.errors import VretouchError
from stream.retoucher import FaceResult, FrameResult, Retoucher

__all__ = ["FaceResult", "FrameResult", "Retoucher", "VretouchError"]
