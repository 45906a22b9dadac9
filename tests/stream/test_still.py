"""Images: pixels outside the face, orientation, profile, transparency, depth and notes are kept; the rest
is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from stream.output import OutputError
from stream.still import LOOKS, StillError, retouch_still
from tests.stream.media import PATCH, FakeRetoucher, drawn

PROFILE = b"not a real profile, but carried all the same"


def picture(mode: str = "RGB", width: int = 72, height: int = 48) -> Image.Image:
    rgb = Image.fromarray(drawn(0, width, height))
    if mode == "I;16":
        deep = np.asarray(rgb.convert("L")).astype(np.uint16) * 257 + 3
        return Image.fromarray(deep)
    if mode in ("RGBA", "LA"):
        rgb = rgb.convert(mode)
        rgb.putalpha(
            Image.fromarray(np.linspace(0, 255, width * height).astype(np.uint8).reshape(height, width))
        )
        return rgb
    return rgb.convert(mode)


def run(source: Path, out: str, levels: int = 40, **options) -> tuple[Image.Image, list[str]]:
    path = source.parent / out
    said = retouch_still(str(source), str(path), lambda: FakeRetoucher(levels), **options)
    with Image.open(path) as image:
        image.load()
        return image, said


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "I;16"])
def test_png_keeps_mode_and_every_pixel_outside_the_face(tmp_path, mode):
    picture(mode).save(tmp_path / "in.png")
    with Image.open(tmp_path / "in.png") as image:
        before = np.asarray(image).astype(int)
    image, said = run(tmp_path / "in.png", "out.png")
    assert image.mode == mode
    change = np.asarray(image).astype(int) - before
    x0, y0, x1, y1 = PATCH
    inside = change[y0:y1, x0:x1].copy()
    change[y0:y1, x0:x1] = 0
    assert not change.any()
    red = {"RGB": 40, "RGBA": 40, "L": 12, "LA": 12, "I;16": round(257 * 0.299 * 40)}[mode]
    assert np.all((inside if inside.ndim == 2 else inside[..., 0]) == red)
    if mode in ("RGBA", "LA"):
        assert not inside[..., -1].any()
    assert said[0].endswith("done, 72x48, 1 face")


@pytest.mark.parametrize("name", ["out.png", "out.webp"])
def test_without_a_face_nothing_changes_and_it_is_said(tmp_path, name):
    picture("RGBA").save(tmp_path / "in.png")
    image, said = run(tmp_path / "in.png", name, levels=0, lossless=True)
    assert np.array_equal(np.asarray(image.convert("RGBA")), np.asarray(picture("RGBA")))
    assert said[1] == "no face found: the picture passed through untouched"


@pytest.mark.parametrize(("mode", "clear"), [("RGB", (90, 70, 60)), ("L", 90)])
def test_a_transparent_colour_becomes_an_alpha_channel(tmp_path, mode, clear):
    flat = Image.new(mode, (72, 48), clear)
    flat.paste(Image.new(mode, (20, 10)), (40, 30))
    flat.save(tmp_path / "in.png", transparency=clear)
    image, _ = run(tmp_path / "in.png", "out.png")
    alpha = np.asarray(image)[..., -1]
    assert image.mode == mode + "A"
    assert (alpha[30:40, 40:60] == 255).all()
    assert np.count_nonzero(alpha) == 200


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("name", ["png", "jpg", "webp"])
def test_the_exif_orientation_is_kept_and_the_face_is_seen_upright(tmp_path, tag, name):
    exif = Image.Exif()
    exif[0x0112] = tag
    exif[0x010F] = "a camera"
    source = tmp_path / f"in.{name}"
    picture().save(source, exif=exif)
    fake = FakeRetoucher()
    retouch_still(str(source), str(tmp_path / f"out.{name}"), lambda: fake)
    assert fake.shapes[0] == ((72, 48, 3) if tag >= 5 else (48, 72, 3))
    with Image.open(tmp_path / f"out.{name}") as image:
        assert image.size == (72, 48)
        assert image.getexif()[0x0112] == tag
        assert image.getexif()[0x010F] == "a camera"


def test_a_comparison_is_upright_and_says_so(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / "in.jpg", exif=exif)
    image, _ = run(tmp_path / "in.jpg", "out.png", view="side")
    assert image.size == (98, 72)
    assert image.getexif()[0x0112] == 1


@pytest.mark.parametrize("name", ["png", "jpg", "webp"])
def test_profile_and_resolution_are_kept(tmp_path, name):
    extra = {} if name == "webp" else {"dpi": (300, 300)}
    picture().save(tmp_path / f"in.{name}", icc_profile=PROFILE, **extra)
    image, _ = run(tmp_path / f"in.{name}", f"out.{name}")
    assert image.info["icc_profile"] == PROFILE
    if extra:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_png_text_and_jpeg_comment_are_kept(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "drawn here")
    picture().save(tmp_path / "in.png", pnginfo=info)
    picture().save(tmp_path / "in.jpg", comment=b"drawn there")
    assert run(tmp_path / "in.png", "out.png")[0].text["Author"] == "drawn here"
    assert run(tmp_path / "in.jpg", "out.jpg")[0].info["comment"] == b"drawn there"


@pytest.mark.parametrize("quality", [60, 90])
def test_jpeg_keeps_its_quality_so_that_untouched_blocks_stay(tmp_path, quality):
    picture(width=160, height=128).save(tmp_path / "in.jpg", quality=quality, subsampling=2)
    with Image.open(tmp_path / "in.jpg") as before:
        image, _ = run(tmp_path / "in.jpg", "out.jpg")
        assert image.quantization == before.quantization
        change = np.abs(np.asarray(image).astype(int) - np.asarray(before))
    assert change[64:, 64:].max() <= 3
    assert change[8:18, 10:22, 0].mean() > 30


def test_webp_without_loss_stays_without_loss(tmp_path):
    picture().save(tmp_path / "in.webp", lossless=True)
    image, _ = run(tmp_path / "in.webp", "out.webp", levels=0)
    assert np.array_equal(np.asarray(image), np.asarray(picture()))


def test_a_palette_becomes_full_colour_and_keeps_its_transparency(tmp_path):
    small = picture().convert("P", palette=Image.Palette.ADAPTIVE, colors=32)
    small.save(tmp_path / "in.png", transparency=3)
    image, said = run(tmp_path / "in.png", "out.png", levels=0)
    with Image.open(tmp_path / "in.png") as before:
        assert np.array_equal(np.asarray(image), np.asarray(before.convert("RGBA")))
    assert said[-1].endswith("has a palette: written in full colour")


def test_a_still_is_looked_at_as_often_as_the_network_remembers(tmp_path):
    picture().save(tmp_path / "in.png")
    fake = FakeRetoucher()
    retouch_still(str(tmp_path / "in.png"), str(tmp_path / "out.png"), lambda: fake)
    assert fake.times_s == pytest.approx([k / 30 for k in range(LOOKS)])


def refused(source: Path, out: str, kind: type[Exception] = StillError, **options) -> str:
    there = sorted(path.name for path in source.parent.iterdir())
    with pytest.raises(kind) as caught:
        run(source, out, **options)
    assert sorted(path.name for path in source.parent.iterdir()) == there
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_would_be_damaged_is_refused(tmp_path):
    picture().convert("CMYK").save(tmp_path / "ink.jpg")
    picture().convert("1").save(tmp_path / "bits.png")
    frames = [picture(), picture("RGB").rotate(5)]
    frames[0].save(tmp_path / "film.webp", save_all=True, append_images=frames[1:])
    write_deep_rgb(tmp_path / "deep.png")
    assert "colour mode CMYK" in refused(tmp_path / "ink.jpg", "out.jpg")
    assert "colour mode 1" in refused(tmp_path / "bits.png", "out.png")
    assert "has 2 frames" in refused(tmp_path / "film.webp", "out.webp")
    assert "16 bits a colour channel" in refused(tmp_path / "deep.png", "out.png")


def write_deep_rgb(path: Path) -> None:
    import cv2

    assert cv2.imwrite(str(path), np.full((8, 8, 3), 30_000, np.uint16))


def test_what_the_output_cannot_hold_is_refused(tmp_path):
    picture("RGBA").save(tmp_path / "clear.png")
    picture("I;16").save(tmp_path / "deep.png")
    picture().save(tmp_path / "in.png")
    assert "holds no transparency" in refused(tmp_path / "clear.png", "out.jpg", OutputError)
    assert "holds 8 bits" in refused(tmp_path / "deep.png", "out.jpg", OutputError)
    assert "holds 8 bits" in refused(tmp_path / "deep.png", "out.webp", OutputError)
    assert "cannot be lossless" in refused(tmp_path / "in.png", "out.jpg", OutputError, lossless=True)


def test_what_cannot_be_read_is_refused(tmp_path):
    packed = io.BytesIO()
    picture().save(packed, "PNG")
    (tmp_path / "cut.png").write_bytes(packed.getvalue()[:-300])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "folder.png").mkdir()
    assert "damaged or cut short" in refused(tmp_path / "cut.png", "out.png")
    assert "is not a PNG, JPEG or WebP image" in refused(tmp_path / "empty.png", "out.png")
    assert "is not a PNG, JPEG or WebP image" in refused(tmp_path / "text.jpg", "out.png")
    assert "there is no file" in refused(tmp_path / "none.png", "out.png")
    assert "is a folder" in refused(tmp_path / "folder.png", "out.png")
    assert "too long); check the name" in refused(tmp_path / ("a" * 300 + ".png"), "out.png")


def test_an_image_and_a_video_do_not_mix(tmp_path):
    picture().save(tmp_path / "in.png")
    assert "is an image, and" in refused(tmp_path / "in.png", "out.mp4", OutputError)
    assert "is an image but" in refused(tmp_path / "in.mp4", "out.png")


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    picture().save(tmp_path / "in.png")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert "no room left" in refused(tmp_path / "in.png", "out.png", OutputError)
