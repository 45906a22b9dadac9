"""Every error this package raises on purpose: one sentence with what was wrong and what to do."""

from __future__ import annotations


class VretouchError(Exception):
    """Base of all errors of the package. str(error) is one clear sentence for a person."""


class FrameError(VretouchError):
    """A frame given to Retoucher.process that is not uint8 [H, W, 3] RGB."""


class OptionError(VretouchError):
    """An option outside its range: strength, max_faces, threads."""


class EngineError(VretouchError):
    """An engine or preset that is not known or cannot run here."""


class WeightsError(VretouchError):
    """Weights that are missing, corrupt, or not the ones their hash names."""


class SourceError(VretouchError):
    """An input that cannot be read, is no video, or is of a kind that would be damaged by processing."""


class FaceModelError(VretouchError):
    """The face detector or face mesh cannot be started or speaks another version's language."""


def first_line(error: BaseException) -> str:
    """The first line with a word in it of what a library's error says, else the error's kind."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if any(map(str.isalnum, line))), type(error).__name__)


def reason_of(error: BaseException) -> str:
    """What a library's error says, to stand in a sentence."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said)[:1].lower() + str(said)[1:]
