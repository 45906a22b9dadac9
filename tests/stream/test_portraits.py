"""stream.portraits: the prepared set, its regions and its tones."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from stream import portraits
from stream.crop import CANONICAL_PX, STABLE_LANDMARKS
from stream.portraits import MONK_HEX, PortraitsError, main, prepare, read_table, skin_like, tone_of
from stream.regions import CHEEKS, OVAL, SKIN, region_bits, skin_mask
from tests.conftest import require
from tests.stream.fakes import template_landmarks

FIELDS = ("file", "subject", "split", "face_px", "side_px", "synthetic", "terms")
SKIN_RGB = (196, 148, 122)


def write_set(folder: Path) -> Path:
    """A data folder with the astronaut's portrait, one without a face, one too small."""
    require("skimage")
    from skimage.data import astronaut

    pictures = folder / "portraits" / "nasa"
    pictures.mkdir(parents=True)
    picture = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)[:300, 60:390]
    large = cv2.resize(picture, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC)
    for name, image in (
        ("face.png", large),
        ("sky.png", np.full((200, 200, 3), 120, np.uint8)),
        ("far.png", picture[40:230, 60:260]),
    ):
        assert cv2.imwrite(str(pictures / name), image)
    with (folder / "portraits.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for number, name in enumerate(("face", "sky", "far")):
            row = (
                f"nasa/{name}.png",
                f"nasa-{number}",
                "heldout" if number == 0 else "train",
                200,
                600,
                0,
                "PD",
            )
            writer.writerow(dict(zip(FIELDS, row, strict=True)))
    return folder


def test_prepare_writes_the_whole_set(tmp_path: Path) -> None:
    out = tmp_path / "out" / "faces"
    count, left_out = prepare(write_set(tmp_path / "in"), out)
    faces, regions = np.load(out / "faces.npy", mmap_mode="r"), np.load(out / "regions.npy")
    landmarks, index = np.load(out / "landmarks.npy"), json.loads((out / "index.json").read_text())
    assert count == len(index) == 1
    assert left_out["no face found"] == 1
    assert sum(left_out.values()) == 2
    assert (faces.shape, faces.dtype) == ((1, 640, 640, 3), np.uint8)
    assert (regions.shape, regions.dtype) == ((1, 640, 640), np.uint8)
    assert (landmarks.shape, landmarks.dtype) == ((1, 468, 2), np.float32)
    entry = index[0]
    assert (entry["file"], entry["split"], entry["synthetic"], entry["source"]) == (
        "nasa/face.png",
        "heldout",
        False,
        "nasa",
    )
    assert 0.5 < entry["scale"] < 2.6
    assert 1 <= entry["monk"] <= 10
    assert np.abs(landmarks[0][STABLE_LANDMARKS] - (CANONICAL_PX + 64)).mean() < 12
    assert list((tmp_path / "out").iterdir()) == [out]


def test_skin_of_a_real_face_covers_the_cheeks_and_no_hair(tmp_path: Path) -> None:
    prepare(write_set(tmp_path / "in"), tmp_path / "out")
    regions = np.load(tmp_path / "out" / "regions.npy")[0]
    skin, oval = regions & SKIN > 0, regions & OVAL > 0
    assert not (skin & ~oval).any()
    assert 0.4 < skin.sum() / oval.sum() < 0.95
    assert (skin & (regions & CHEEKS > 0)).sum() / (regions & CHEEKS > 0).sum() > 0.7


def test_an_earlier_set_is_replaced_but_other_folders_are_not(tmp_path: Path) -> None:
    data, out = write_set(tmp_path / "in"), tmp_path / "out"
    prepare(data, out)
    prepare(data, out)
    assert sorted(p.name for p in out.iterdir()) == [
        "faces.npy",
        "index.json",
        "landmarks.npy",
        "regions.npy",
    ]
    other = tmp_path / "other"
    other.mkdir()
    (other / "letters.txt").write_text("keep")
    with pytest.raises(PortraitsError, match="holds other things"):
        prepare(data, other)
    assert [p.name for p in other.iterdir()] == ["letters.txt"]
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out", "other"}


def test_main_prints_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_set(tmp_path / "in")), str(tmp_path / "out")]) == 0
    assert "1 portraits" in capsys.readouterr().out


def test_main_says_one_sentence_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip()
    assert "portraits.csv" in said
    assert "\n" not in said
    assert not (tmp_path / "out").exists()


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    data = write_set(tmp_path / "in")
    (data / "portraits" / "nasa" / "sky.png").unlink()
    with pytest.raises(PortraitsError, match=r"sky\.png"):
        prepare(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "portraits.csv").write_text("name,age\na,1\n")
    with pytest.raises(PortraitsError, match="subject"):
        read_table(tmp_path)


def test_no_usable_face_is_a_sentence(tmp_path: Path) -> None:
    data = write_set(tmp_path / "in")
    lines = (data / "portraits.csv").read_text().splitlines()
    (data / "portraits.csv").write_text("\n".join([lines[0], lines[2]]) + "\n")
    with pytest.raises(PortraitsError, match="no usable face"):
        prepare(data, tmp_path / "out")


def test_each_monk_tone_is_its_own_nearest() -> None:
    everywhere = np.ones((4, 4), bool)
    for number, tone in enumerate(MONK_HEX, 1):
        face = np.full((4, 4, 3), list(bytes.fromhex(tone)), np.uint8)
        assert tone_of(face, everywhere)[1] == number


@pytest.mark.parametrize(
    ("rgb", "low", "high"), [((240, 220, 205), 55, 90), ((200, 150, 120), 25, 45), ((70, 45, 35), -80, -45)]
)
def test_ita_falls_from_light_to_dark(rgb: tuple[int, int, int], low: float, high: float) -> None:
    ita, _ = tone_of(np.full((4, 4, 3), rgb, np.uint8), np.ones((4, 4), bool))
    assert low < ita < high


def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(face, bits, geometric skin) of a smooth shaded face in canonical pose, with sensor noise."""
    marks, size = template_landmarks(), (512, 512)
    light = (
        1.0
        - 0.25 * np.abs(np.linspace(-1, 1, 512))[None, :, None]
        - 0.1 * np.linspace(0, 1, 512)[:, None, None]
    )
    noise = np.random.default_rng(0).normal(0, 1.5, (512, 512, 3))
    face = np.clip(np.array(SKIN_RGB) * light + noise, 0, 255).astype(np.uint8)
    return face, region_bits(marks, size), skin_mask(marks, size)


def test_smooth_shaded_skin_is_skin() -> None:
    face, bits, geometric = drawn()
    assert skin_like(face, bits, geometric).sum() > 0.99 * (geometric > 0).sum()


def test_moles_and_spots_stay_skin() -> None:
    face, bits, geometric = drawn()
    cv2.circle(face, (170, 280), 5, (70, 45, 38), -1, cv2.LINE_AA)
    cv2.circle(face, (340, 300), 8, (190, 110, 100), -1, cv2.LINE_AA)
    kept = skin_like(face, bits, geometric)
    assert kept[280, 170]
    assert kept[300, 340]


def test_hair_frames_and_dark_beard_are_not_skin() -> None:
    face, bits, geometric = drawn()
    cv2.rectangle(face, (180, 95), (330, 125), (35, 30, 28), -1)
    cv2.line(face, (120, 250), (230, 250), (30, 30, 32), 6)
    cv2.ellipse(face, (256, 425), (70, 18), 0, 0, 360, (45, 40, 38), -1)
    kept = skin_like(face, bits, geometric)
    assert not kept[100:120, 190:320].any()
    assert not kept[250, 130:220].any()
    assert not kept[425, 200:310].any()
    assert kept[300, 160]


def test_the_real_set_follows_its_table(shared_data: Path) -> None:
    rows = read_table(shared_data)
    assert len(rows) > 1000
    assert {row["split"] for row in rows} == {"train", "heldout"}
    assert portraits.CANVAS_PX == 640


def test_what_lies_beyond_the_picture_is_marked() -> None:
    shift = np.array([[1.0, 0.0, 100.0], [0.0, 1.0, 0.0]])
    seen = portraits.inside_picture((700, 300), shift)
    assert not seen[:, :100].any() and not seen[:, 400:].any()
    assert seen[:, 104:396].all()
