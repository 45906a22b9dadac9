"""`python -m bench pairs`: networks of every system on the test split of made pairs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require

torch = require("torch")
require("skimage")

from bench.__main__ import main  # noqa: E402
from bench.clips import pixels_of  # noqa: E402
from bench.reproduction.on_pairs import load_any, retouching  # noqa: E402
from bench.reproduction.tables import WHOSE_MAPS  # noqa: E402
from model.config import preset  # noqa: E402
from model.earlier.systems import FrameByFrame, config_of, network_of  # noqa: E402
from model.earlier.weights import save_earlier  # noqa: E402
from model.paper.config import PRESETS  # noqa: E402
from model.paper.network import PaperVRetouchEr  # noqa: E402
from model.paper.weights import save_paper  # noqa: E402
from model.systems import EARLIER  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.weights import save_weights  # noqa: E402
from tests.model.pairs import write_stills, write_videos  # noqa: E402

SMALL = ["--frames", "2", "--size", "64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, and weights of every system."""
    made = tmp_path_factory.mktemp("made")
    write_stills(made / "data", count=1)
    torch.manual_seed(0)
    for system in EARLIER:
        network = network_of(config_of(system, "tiny"))
        save_earlier(system, network, made / f"{system}.pt", perceptual=False)
    save_paper(PaperVRetouchEr(PRESETS["paper-tiny"]), made / "paper.pt")
    save_weights(VRetouchEr(preset("tiny")), made / "live.pt")
    return made


def test_every_system_is_judged_on_the_same_clips(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (*EARLIER, "paper", "live")
    given = [word for name in names for word in ("--network", f"{name}={folder / name}.pt")]
    out = tmp_path / "pairs.json"
    assert main(["pairs", str(folder / "data"), *SMALL, *given, "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "2 clips of 2 frames of 64 px" in text and "motion independent" in text
    lines = [line.split("  ")[0] for line in text.splitlines()]
    assert [line for line in lines if line in ("Raw pairs", "Bilateral filter", *names)] == [
        "Raw pairs",
        "Bilateral filter",
        *names,
    ]
    figures = json.loads(out.read_text())["figures"]
    assert figures["Raw pairs gain_db"] == 0.0 and figures["Raw pairs psnr_db"] > 20
    assert figures["live gain_db"] == pytest.approx(
        figures["live psnr_db"] - figures["Raw pairs psnr_db"], abs=1e-6
    )
    assert figures["paper soft_iou"] is not None and figures["Raw pairs soft_iou"] is None
    assert "LPIPS" in text and WHOSE_MAPS in text


def test_videos_are_judged_without_flicker_as_their_motion_is_not_known(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_videos(tmp_path / "data", count=1)
    out = tmp_path / "pairs.json"
    given = ["--network", f"live={folder / 'live.pt'}", "--json", str(out)]
    assert main(["pairs", str(tmp_path / "data"), "--motion", "smooth", *SMALL, *given]) == 0
    text = capsys.readouterr().out
    assert "1 clips of 2 frames of 64 px" in text and "motion as filmed" in text
    assert WHOSE_MAPS not in text
    assert "flicker, levels was not measured: the motion of filmed videos is not known." in text
    found = json.loads(out.read_text())
    assert found["reasons"]["flicker"] == "the motion of filmed videos is not known"
    for title in ("Raw pairs", "Bilateral filter", "live"):
        assert found["figures"][f"{title} flicker"] is None
    assert found["figures"]["Raw pairs psnr_db"] > 20 and found["figures"]["live drift"] is not None


@pytest.mark.parametrize(("motion", "measured"), [("independent", False), ("smooth", True)])
def test_flicker_is_measured_in_smooth_motion_alone(
    motion: str, measured: bool, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs.json"
    assert main(["pairs", str(folder / "data"), *SMALL, "--motion", motion, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert (found["figures"]["Raw pairs flicker"] is not None) == measured
    assert ("flicker" not in found["reasons"]) == measured
    assert ("give --motion smooth." in capsys.readouterr().out) != measured


def test_a_file_says_of_which_system_it_is(folder: Path) -> None:
    assert isinstance(load_any(folder / "bpfre.pt"), FrameByFrame)
    assert isinstance(load_any(folder / "paper.pt"), PaperVRetouchEr)
    assert isinstance(load_any(folder / "live.pt"), VRetouchEr)


def test_references_around_a_frame_are_judged_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    network = PaperVRetouchEr(PRESETS["paper-tiny"]).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    raw = torch.rand(1, 4, 3, 64, 64, generator=torch.Generator().manual_seed(2)).mul(255).round() / 255
    made = {}
    for references in ("past", "around"):
        network.references = references
        save_paper(network, tmp_path / f"{references}.pt")
        retouch = retouching(load_any(tmp_path / f"{references}.pt"))
        with torch.no_grad():
            frames, maps = zip(*retouch(pixels_of(raw[0])), strict=True)
            whole = pixels_of(network.clip(raw, references).image[0].clamp(0, 1))
        made[references] = np.stack(frames)
        assert np.abs(made[references].astype(int) - whole).max() <= 1
        assert maps[0].shape == (64, 64) and maps[0].dtype == np.float32
    assert (made["past"][0] != made["around"][0]).any()
    assert np.abs(made["past"][-1].astype(int) - made["around"][-1]).max() <= 1
    given = [word for name in made for word in ("--network", f"{name} ones={tmp_path / name}.pt")]
    assert main(["pairs", str(folder / "data"), *SMALL, *given]) == 0
    assert "frames to come are seen: around ones." in capsys.readouterr().out


def test_the_published_network_without_a_part_is_judged_without_it(folder: Path, tmp_path: Path) -> None:
    given = []
    for name, changed in (("mma", {"mma": False}), ("fir", {"fir": False}), ("delta", {"delta": 1})):
        save_paper(PaperVRetouchEr(replace(PRESETS["paper-tiny"], **changed)), tmp_path / f"{name}.pt")
        network = load_any(tmp_path / f"{name}.pt")
        assert isinstance(network, PaperVRetouchEr)
        assert {part: getattr(network.config, part) for part in changed} == changed
        given += ["--network", f"{name}={tmp_path}/{name}.pt"]
    given = [
        word for name in ("mma", "fir", "delta") for word in ("--network", f"{name}={tmp_path}/{name}.pt")
    ]
    assert main(["pairs", str(folder / "data"), *SMALL, *given]) == 0


@pytest.mark.parametrize(
    ("size", "networks", "said"),
    [
        ("100", ["live"], "live takes faces whose sides are multiples of 32 pixels, and --size is 100"),
        ("100", ["paper"], "multiples of 8 pixels, and --size is 100; give --size 96"),
        ("36", ["live"], "give --size 32"),
        ("104", ["paper", "bpfre"], None),
        ("104", ["paper", "live"], "give --size 96"),
        ("100", ["autoretouch"], None),
        ("126", ["bpfre"], "4 divides"),
        ("508", ["deep"], "multiples of 64 pixels, and --size is 508; give --size 448"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_a_sentence(
    size: str,
    networks: list[str],
    said: str | None,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = replace(config_of("bpfre", "tiny"), channels=(4, 4, 4, 4, 4, 4, 4))
    save_earlier("bpfre", network_of(config), tmp_path / "deep.pt", perceptual=False)
    paths = {name: (tmp_path if name == "deep" else folder) / f"{name}.pt" for name in networks}
    given = [word for name, path in paths.items() for word in ("--network", f"{name}={path}")]
    code = main(["pairs", str(folder / "data"), "--frames", "2", "--clips", "1", "--size", size, *given])
    error = capsys.readouterr().err.strip().splitlines()
    if said is None:
        assert code == 0
    else:
        assert code == 2 and said in error[-1] and len(error) == 1


def test_what_is_wrong_is_a_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.pt").write_text("no weights")
    for data, given, said in (
        (folder / "data", f"a={tmp_path}/none.pt", "no weights at"),
        (folder / "data", f"a={tmp_path}/text.pt", "text.pt holds no weights"),
        (tmp_path, f"a={folder}/live.pt", "test/source"),
    ):
        assert main(["pairs", str(data), *SMALL, "--network", given]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert said in error[-1] and len(error) == 1
    twice = ["--network", f"a={folder}/live.pt", "--network", f"a={folder}/paper.pt"]
    for more, said in (
        (["--frames", "1"], "1 frame has no motion; give --frames 2 or more"),
        (["--motion", "shaky"], "use one of independent, smooth"),
        (["--network", f"Raw pairs={folder}/live.pt"], "two rows would be titled 'Raw pairs'"),
        (["--network", f"Bilateral filter={folder}/live.pt"], "two rows would be titled 'Bilateral filter'"),
        (twice, "two rows would be titled 'a'"),
    ):
        assert main(["pairs", str(folder / "data"), *SMALL, *more]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert said in error[-1] and len(error) == 1
    with pytest.raises(SystemExit):
        main(["pairs", str(folder / "data"), "--network", "weights.pt"])
    assert "TITLE=FILE" in capsys.readouterr().err
