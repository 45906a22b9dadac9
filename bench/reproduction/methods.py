"""The methods that the paper compares, and the variants of its own: each a system and sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.ablate import VARIANTS
from model.config import FACE_PX, Config, preset
from model.earlier.systems import Earlier, FrameByFrame, config_of, network_of
from model.systems import EARLIER
from model.validate import Causal
from model.vretoucher import VRetouchEr

DELTAS = (1, 2, 4, 6, 8)
_ABLATED = {variant.name: variant.changed for variant in VARIANTS}


@dataclass(frozen=True)
class Method:
    """One trained method.

    Attributes:
        key: name of its files.
        title: as the paper writes it.
        system: "live" for the causal network, else one of the earlier systems.
        changed: of the causal network's sizes.
        delta: number of references, where nothing else differs from the full network; else None.
    """

    key: str
    title: str
    system: str = "live"
    changed: Callable[[Config], Config] = lambda config: config
    delta: int | None = None

    def config(self, name: str) -> Config:
        """The causal network's sizes of the preset `name`, changed."""
        return self.changed(preset(name))

    def untrained(self, name: str) -> nn.Module:
        """A network of the preset `name`."""
        if self.system in EARLIER:
            return network_of(config_of(self.system, name))
        return VRetouchEr(self.config(name))


def _with(delta: int) -> Method:
    key, title = f"delta-{delta}", f"VRetouchEr, delta {delta}"
    return Method(key, title, changed=lambda c: replace(c, delta=delta), delta=delta)


FULL = Method("vretoucher", "VRetouchEr")
AUTORETOUCH = Method("autoretouch", "AutoRetouch", "autoretouch")
BPFRE = Method("bpfre", "BPFRe", "bpfre")
BASE = Method("base", "Base model", changed=_ABLATED["neither"])
NO_MMA = Method("without-mma", "VRetouchEr w/o MMA", changed=_ABLATED["without MMA"])
NO_FIR = Method("without-fir", "VRetouchEr w/o FIR", changed=_ABLATED["without FIR"])
BY_DELTA = {delta: FULL if delta == 6 else _with(delta) for delta in DELTAS}
COMPARED = (AUTORETOUCH, BPFRE, FULL)
ABLATIONS = (BASE, NO_MMA, NO_FIR, FULL)
IN_TABLES = tuple(dict.fromkeys((*COMPARED, *ABLATIONS)))
METHODS = tuple(dict.fromkeys((*IN_TABLES, *BY_DELTA.values())))


def learns_as(method: Method, name: str, frames: int) -> Method:
    """The method whose training at preset `name` on clips of `frames` frames is this one's too, step by step:
    the full network where neither ring is ever full."""
    if method.delta is None or frames - 1 > min(method.delta, FULL.config(name).delta):
        return method
    return FULL


def causal(network: VRetouchEr | Earlier) -> Causal:
    """The network as one that retouches frame after frame."""
    return network if isinstance(network, VRetouchEr) else FrameByFrame(network)


def gmac(method: Method, name: str) -> float:
    """Multiplications and additions of one face, in 10^9 pairs."""
    import torch

    face = torch.zeros(1, 3, FACE_PX, FACE_PX)
    network = method.untrained(name).eval()
    assert isinstance(network, VRetouchEr | Earlier)
    stepped = causal(network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        stepped.step(face, stepped.fresh_state(face))
    return float(counter.get_total_flops()) / 2e9
