"""The causal VRetouchEr: one step, state in, state out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Config
from model.decoder import Decoder, lay_out
from model.encoder import Encoder
from model.fir import FIR
from model.localizer import Localizer, probability
from model.mma import References, Transformer, reference_mean
from model.spynet import FlowLevel, SpyNet
from model.state import Pushed, State, fresh_state, push, push_
from model.warp import Warp


class Step(NamedTuple):
    """Result of one step.

    Attributes:
        residual: [B, 3, H, W] = M_full * r, in units of the face; retouched = face + residual.
        map: [B, 1, H, W] in [0, 1], M_full; clean skin is 0.
        kept: [B, 2, H/4, W/4] in [0, 1], how likely moles and freckles are there (model.config.KEPT).
        state: the next step's state.
    """

    residual: Tensor
    map: Tensor
    kept: Tensor
    state: State


@dataclass(frozen=True)
class Trace:
    """What the losses look at beside the result: logits of the maps and the imperfection flow.

    Attributes:
        evidence: logit of M_t [B, 1, H/4, W/4].
        refined: logit of M^_t [B, 1, H/4, W/4].
        full: logit of M_full [B, 1, H, W].
        kept: logits of the classes that stay [B, 2, H/4, W/4].
        flow: O_t [B, 2, H/8, W/8], pixels at 1/8 scale.
    """

    evidence: Tensor
    refined: Tensor
    full: Tensor
    kept: Tensor
    flow: Tensor


class VRetouchEr(nn.Module):
    """E, N, S, FIR, T and G, in the order of DESIGN's step."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.localizer = Localizer(config)
        self.spynet = SpyNet(config)
        self.fir = FIR()
        self.references = References(config)
        self.transformer = Transformer(config)
        self.decoder = Decoder(config)

    def fresh_state(self, face: Tensor) -> State:
        """The state before the first frame, for faces shaped like `face` [B, 3, H, W]."""
        return fresh_state(self.config, face)

    def warp_by(self, warp: Warp) -> None:
        """Warp in every step by this instead of model.warp.warp, which it must equal; gradients it need not
        have."""
        for part in self.modules():
            if isinstance(part, FIR | FlowLevel):
                part.warp = warp

    def look(self, face: Tensor, state: State) -> tuple[Tensor, Tensor, Pushed, Trace]:
        """`step` without push and product: r and M_full by cells (see Decoder), what is to be pushed, and
        what the losses need."""
        features, skip4, skip2 = self.encoder(face)
        evidence, kept = self.localizer(features, skip4)  # Eq. 2: M_t
        patches = self.spynet.patches(face)
        flow = self.spynet(state.patches_prev, patches)  # Eq. 1: O_t
        flow4 = 2 * F.interpolate(flow, scale_factor=2.0, mode="bilinear", align_corners=False)
        seen = state.valid.amax(1).reshape(-1, 1, 1, 1)
        refined = evidence
        if self.config.fir:
            refined = self.fir(evidence, state.map_prev, flow4, seen)  # Eq. 3: M^_t
        map4 = torch.sigmoid(refined)
        map8 = F.max_pool2d(map4, 2)
        if not self.config.guided:
            map8 = torch.full_like(map8, 0.5)
        reference = self.references(features, map8)  # Eq. 4: K and V of this frame
        mean = reference_mean(state.references, state.valid, reference)
        retouched = features
        if self.config.mma:
            retouched = self.transformer(features, map8, mean)  # Eq. 5-6
        residual, mask, full = self.decoder(retouched, skip4, skip2, refined)
        pushed = Pushed(patches, map4, reference)
        return residual, mask, pushed, Trace(evidence, refined, lay_out(full), kept, flow)

    def trace(self, face: Tensor, state: State) -> tuple[Step, Trace]:
        """`step`, with what the losses need."""
        return self._trace(face, state, push)

    def step_(self, face: Tensor, state: State, slot: Tensor) -> Step:
        """`step`, but the state is changed in place and given back as the next; slot: see
        model.state.push_."""
        return self._trace(face, state, partial(push_, slot=slot))[0]

    def _trace(
        self, face: Tensor, state: State, push: Callable[[State, Pushed], State]
    ) -> tuple[Step, Trace]:
        residual, mask, pushed, trace = self.look(face, state)
        shown = lay_out(mask)
        step = Step(lay_out(residual) * shown, shown, probability(trace.kept), push(state, pushed))
        return step, trace

    def forward(self, face: Tensor, state: State) -> Step:
        """One causal step.

        Args:
            face: [B, 3, H, W] RGB in [0, 1], H and W multiples of 32; 512 in use.
            state: of this stream, `fresh_state(face)` before its first frame; not changed.
        """
        return self.trace(face, state)[0]

    step = forward
