"""vretouch: causal, real-time face retouching of a live video stream.

from stream import Retoucher
with Retoucher() as r:
    retouched = r.process(frame_rgb_u8)
"""

from typing import TYPE_CHECKING, Any

from stream.errors import VretouchError

if TYPE_CHECKING:
    from stream.results import FaceResult, FrameResult
    from stream.retoucher import Retoucher

__all__ = ["FaceResult", "FrameResult", "Retoucher", "VretouchError"]


def __getattr__(name: str) -> Any:
    """Import the library when it is first used (PEP 562), so that `vretouch doctor` runs where a part is
    missing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stream import retoucher

    return getattr(retoucher, name)
