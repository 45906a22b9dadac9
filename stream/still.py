"""Retouch an image: PNG, JPEG or WebP, with its orientation, profile, transparency and notes kept."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from stream.compare import compose
from stream.errors import VretouchError
from stream.file import MakeRetoucher, changed_boxes
from stream.frame import Orientation, RgbImage, orientation_from_exif
from stream.job import IMAGE_FORMATS, is_image
from stream.output import OutputError, OutputFile, check_output, write_error

# As many looks as the network's memory is long, so that a still gets what a face that holds still gets.
LOOKS = 7
_FRAME_S = 1.0 / 30.0
_ORIENTATION = 0x0112
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_QUALITY = 95


class StillError(VretouchError):
    """An image that cannot be read, or is of a kind that would be damaged by processing."""


@dataclass(frozen=True)
class Still:
    """An image as it is stored. mode: RGB, RGBA, L, LA or I;16. samples: uint8 or uint16 [h, w] or [h, w,
    channels]."""

    samples: npt.NDArray[Any]
    mode: str
    orientation: Orientation
    image: Image.Image
    note: str | None = None

    def rgb_u8(self) -> RgbImage:
        """uint8 [H, W, 3] RGB, upright."""
        if self.mode in ("RGB", "RGBA"):
            rgb = self.samples[..., :3]
        else:
            gray = self.samples[..., 0] if self.mode == "LA" else self.samples
            eight = np.rint(gray / 257.0).astype(np.uint8) if self.mode == "I;16" else gray
            rgb = np.repeat(eight[..., None], 3, axis=2)
        return np.ascontiguousarray(self.orientation.upright(np.ascontiguousarray(rgb)), np.uint8)

    def changed_by(self, before: RgbImage, after: RgbImage) -> npt.NDArray[Any]:
        """The stored samples with the residual after - before (upright RGB) added, in the image's own
        mode."""
        residual = self.orientation.stored(np.subtract(after, before, dtype=np.int16))
        samples = self.samples.copy()
        if self.mode in ("RGB", "RGBA"):
            samples[..., :3] = np.clip(samples[..., :3] + residual, 0, 255)
            return samples
        change: npt.NDArray[Any] = residual @ _LUMA
        if self.mode == "I;16":
            deep = np.rint(257.0 * change).astype(np.int32)
            return np.clip(samples + deep, 0, 65535).astype(np.uint16)
        gray = samples[..., 0] if self.mode == "LA" else samples
        gray[...] = np.clip(gray + np.rint(change).astype(np.int16), 0, 255)
        return samples


def retouch_still(
    source: str,
    out: str,
    make_retoucher: MakeRetoucher,
    *,
    view: str | None = None,
    lossless: bool = False,
    force: bool = False,
) -> list[str]:
    """Retouch one image; returns what the user should know. Raises VretouchError, and then nothing is left at
    out."""
    form = _output_format(source, out, lossless)
    check_output(out, source, force)
    still = read_still(source)
    before = still.rgb_u8()
    with make_retoucher() as retoucher:
        for look in range(LOOKS):
            after = retoucher.process(before, look * _FRAME_S)
        faces = retoucher.last.faces
        if view is not None:
            changed = bool(changed_boxes(faces))
            picture = Image.fromarray(compose(view, before, after, faces, changed=changed))
            upright = True
        else:
            picture = _as_image(still, still.changed_by(before, after))
            upright = False
    save_still(picture, still, out, form, source, force=force, upright=upright, lossless=lossless)
    notes = [f"{out}: done, {before.shape[1]}x{before.shape[0]}, {len(faces)} face{'s' * (len(faces) != 1)}"]
    if not faces:
        notes.append("no face found: the picture passed through untouched")
    return notes + ([still.note] if still.note else [])


def _output_format(source: str, out: str, lossless: bool) -> str:
    known = " ".join(IMAGE_FORMATS)
    if not is_image(source):
        raise StillError(
            f"{out} is an image but {source} is not; give an image ({known}), or a video's ending for OUT"
        )
    if not is_image(out):
        raise OutputError(f"{source} is an image, and {out} is none; give OUT one of the endings {known}")
    form = IMAGE_FORMATS[Path(out).suffix.lower()]
    if lossless and form == "JPEG":
        raise OutputError(
            f"{out} is JPEG, which cannot be lossless; name it .png or .webp, or leave out --lossless"
        )
    return form


def read_still(source: str) -> Still:
    """The image with its samples; raises StillError with one sentence for what cannot be kept whole."""
    image = _open(source)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise StillError(
            f"{source} has {frames} frames, and an animated image is not handled; convert it to mp4"
        )
    _refuse_deep_colour(source, image)
    mode, note = image.mode, None
    clear = "transparency" in image.info
    if mode == "P":
        mode = "RGBA" if clear else "RGB"
        note = f"{source} has a palette: written in full colour"
        samples = np.asarray(image.convert(mode))
    elif clear and mode in ("RGB", "L"):
        # One colour or gray of a PNG can be the transparent one; retouched, its pixels would not match it.
        mode += "A"
        samples = np.asarray(image.convert(mode))
    elif mode in ("RGB", "RGBA", "L", "LA"):
        samples = np.asarray(image)
    elif mode in _DEEP:
        mode, samples = "I;16", np.asarray(image).astype(np.uint16)
    else:
        raise StillError(
            f"{source} is of colour mode {mode}, which would be damaged; convert it to RGB or gray first"
        )
    return Still(samples, mode, orientation_from_exif(int(image.getexif().get(_ORIENTATION, 1))), image, note)


def _open(source: str) -> Image.Image:
    try:
        with warnings.catch_warnings(), Path(source).open("rb") as file:
            # An 8K picture is large, but no attack.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=tuple(sorted(set(IMAGE_FORMATS.values()))))
            image.load()
        return image
    except FileNotFoundError:
        raise StillError(f"there is no file {source}; check the name and the folder") from None
    except IsADirectoryError:
        raise StillError(f"{source} is a folder; name an image in it") from None
    except PermissionError:
        raise StillError(f"{source} cannot be read (permission denied); check its rights") from None
    except Image.DecompressionBombError:
        raise StillError(
            f"{source} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
        ) from None
    except UnidentifiedImageError:
        raise StillError(
            f"{source} is not a PNG, JPEG or WebP image, or is empty; give a whole one"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise StillError(
                f"{source} cannot be read ({error.strerror}); check the name and the disk"
            ) from None
        raise StillError(f"{source} is damaged or cut short ({error}); get a whole copy") from None


def _refuse_deep_colour(source: str, image: Image.Image) -> None:
    """Pillow reads colour of 16 bits a channel as 8 without a word."""
    if image.format != "PNG":
        return
    with Path(source).open("rb") as file:
        head = file.read(26)
    depth, kind = head[24], head[25]
    if depth == 16 and kind != 0:
        raise StillError(
            f"{source} has 16 bits a colour channel, which would be damaged; convert it to 8 bits first"
        )


def _as_image(still: Still, samples: npt.NDArray[Any]) -> Image.Image:
    if still.mode == "LA":
        gray, alpha = (Image.fromarray(np.ascontiguousarray(samples[..., k])) for k in range(2))
        return Image.merge("LA", [gray, alpha])
    return Image.fromarray(samples)


def save_still(
    picture: Image.Image,
    still: Still,
    out: str,
    form: str,
    source: str | None,
    *,
    force: bool,
    upright: bool,
    lossless: bool,
) -> None:
    """Write the picture with what the source carried beside its pixels. upright: its orientation is gone
    already."""
    kept = _kept(still.image, form, upright=upright)
    if form == "JPEG":
        _refuse_for_jpeg(picture, out)
        kept |= _jpeg_quality(still.image)
    elif form == "WEBP":
        _refuse_for_webp(picture, out)
        whole = lossless or _is_lossless_webp(source)
        kept |= {"lossless": True, "exact": True} if whole else {"quality": _QUALITY, "exact": True}
    file = OutputFile(out, source, force)
    try:
        picture.save(file.part, format=form, **kept)
    except (OSError, ValueError) as error:
        file.discard()
        raise write_error(error, out) from error
    except BaseException:
        file.discard()
        raise
    file.commit()


def _kept(image: Image.Image, form: str, *, upright: bool) -> dict[str, Any]:
    """What Pillow's save takes: EXIF, colour profile, resolution, XMP, text."""
    exif = image.getexif()
    if upright:
        exif[_ORIENTATION] = 1
    kept: dict[str, Any] = {}
    raw = image.info.get("exif")
    if len(exif):
        kept["exif"] = raw if raw and not upright else exif.tobytes()
    for key in ("icc_profile", "dpi"):
        if image.info.get(key) and not (key == "dpi" and form == "WEBP"):
            kept[key] = image.info[key]
    if image.info.get("xmp") and form in ("JPEG", "WEBP"):
        kept["xmp"] = image.info["xmp"]
    if form == "PNG":
        kept["pnginfo"] = _png_text(image)
    if form == "JPEG" and image.info.get("comment"):
        kept["comment"] = image.info["comment"]
    return kept


def _png_text(image: Image.Image) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for key, value in getattr(image, "text", {}).items():
        info.add_itxt(key, str(value))
    if image.info.get("xmp") and "XML:com.adobe.xmp" not in getattr(image, "text", {}):
        xmp = image.info["xmp"]
        info.add_itxt(
            "XML:com.adobe.xmp", xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)
        )
    return info


def _jpeg_quality(image: Image.Image) -> dict[str, Any]:
    """The source's own tables, so that blocks which did not change are rounded as they were; else near the
    best."""
    tables = getattr(image, "quantization", None)
    if image.format == "JPEG" and tables:
        sampling = JpegImagePlugin.get_sampling(image)
        return {"qtables": tables, "subsampling": sampling if sampling >= 0 else 0}
    return {"quality": _QUALITY, "subsampling": 0}


def _is_lossless_webp(source: str | None) -> bool:
    """Whether the source is WebP without loss: its pixels are in a VP8L chunk (RFC 9649)."""
    if source is None:
        return False
    head = Path(source).read_bytes()[:1_000_000]
    return head[8:12] == b"WEBP" and b"VP8L" in head and b"VP8 " not in head


def _refuse_for_jpeg(picture: Image.Image, out: str) -> None:
    if picture.mode in ("RGBA", "LA"):
        raise OutputError(f"{out} is JPEG, which holds no transparency; name it .png or .webp")
    if picture.mode == "I;16":
        raise OutputError(f"{out} is JPEG, which holds 8 bits, and the input has 16; name it .png")
    if max(picture.size) > 65_500:
        raise OutputError(
            f"{out} would be {picture.size[0]}x{picture.size[1]}, and JPEG ends at 65500; name it .png"
        )


def _refuse_for_webp(picture: Image.Image, out: str) -> None:
    if picture.mode == "I;16":
        raise OutputError(f"{out} is WebP, which holds 8 bits, and the input has 16; name it .png")
    if max(picture.size) > 16_383:
        raise OutputError(
            f"{out} would be {picture.size[0]}x{picture.size[1]}, and WebP ends at 16383; name it .png"
        )
