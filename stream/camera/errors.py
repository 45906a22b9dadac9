"""What can go wrong with cameras, real and virtual; each is one sentence that ends with the remedy."""

from __future__ import annotations

from stream.errors import VretouchError


class CameraError(VretouchError):
    """A camera that is not there, cannot be opened, or went away."""


class VirtualCameraError(VretouchError):
    """A virtual camera that is not there or cannot be written to."""


class PreviewError(VretouchError):
    """A preview window that cannot be opened."""
