"""A tiny published network with random weights, and faces for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import require

torch = require("torch")

if TYPE_CHECKING:
    from model.paper.network import PaperVRetouchEr


@pytest.fixture(scope="session")
def paper_network() -> PaperVRetouchEr:
    """Preset `paper-tiny` in eval mode; nothing may hide behind a zero initialisation."""
    from model.paper.config import PRESETS
    from model.paper.network import PaperVRetouchEr

    torch.manual_seed(3)
    network = PaperVRetouchEr(PRESETS["paper-tiny"]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="session")
def paper_faces() -> torch.Tensor:
    """Six frames [6, 1, 3, 64, 64]."""
    return torch.rand(6, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
