"""VRetouchEr as published: one causal step, state in, state out, and whole clips with either choice of
references."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.paper.config import PaperConfig
from model.paper.fir import FIR
from model.paper.mma import Transformer, reference_sum
from model.paper.networks import Decoder, Encoder, Localizer
from model.paper.spynet import SpyNet

REFERENCES = ("past", "around")


@dataclass(frozen=True)
class State:
    """What one face's stream remembers; a fresh one is all zeros.

    Attributes:
        face_prev: [B, 3, H, W], the previous face (Eq. 1).
        found_prev: [B, C, H/8, W/8], the previous map of N, not refined (Eq. 2).
        references: [B, delta - 1, blocks, 2, H/8, W/8, C], ring of the past frames' K and V (Eq. 4).
        valid: [B, delta - 1], 1 where a slot of the ring is filled.
        seen: [B, 1], 1 where there was a frame before.
    """

    face_prev: Tensor
    found_prev: Tensor
    references: Tensor
    valid: Tensor
    seen: Tensor


class Step(NamedTuple):
    """Result of one step.

    Attributes:
        residual: [B, 3, H, W], y^ - face: retouched = face + residual. G paints the whole picture.
        map: [B, 1, H, W] in [0, 1], I(M).
        state: the next step's state.
    """

    residual: Tensor
    map: Tensor
    state: State


@dataclass(frozen=True)
class Retouched:
    """What the network makes of whole clips [B, T, 3, H, W].

    Attributes:
        image: Y^ [B, T, 3, H, W].
        map: I(M) [B, T, 1, H/8, W/8], not clamped.
        flow: O [B, T, 2, H, W] in pixels, backward; of frame 0 it means nothing.
    """

    image: Tensor
    map: Tensor
    flow: Tensor


def choose(frames: int, delta: int, references: str) -> Tensor:
    """Which frames are whose references [T, T]: 1 at (t, i) where i counts for t.

    "past", the causal choice: the frame and the delta - 1 before it. "around", for whole clips: the delta
    frames nearest about it, near an end of the clip those next to that end. Decided, as the paper does not
    say which frames of the sequence are taken; none is taken twice.
    """
    at = torch.arange(frames)
    if references == "past":
        first = (at - delta + 1).clamp(min=0)
        last = at
    else:
        first = (at - delta // 2).clamp(max=frames - delta).clamp(min=0)
        last = (first + delta - 1).clamp(max=frames - 1)
    return ((at >= first[:, None]) & (at <= last[:, None])).float()


class PaperVRetouchEr(nn.Module):
    """E, N, S, FIR, T and G; `show` is I of Eq. 7.

    Decided: M has as many channels as the features (Table 4), which is why Eq. 7 needs I: a 1x1 convolution
    to the one channel of M_gt, at first the mean. Each part of the map masks its own channel in Eq. 4 and 6.
    """

    def __init__(self, config: PaperConfig, references: str = "past") -> None:
        """references: those that it is trained with, "past" or "around" (`choose`)."""
        super().__init__()
        self.config, self.references = config, references
        channels = config.channels[3]
        self.encoder = Encoder(config)
        self.localizer = Localizer(config)
        self.spynet = SpyNet(config)
        self.fir = FIR(channels)
        self.show = nn.Conv2d(channels, 1, 1)
        self.transformer = Transformer(config)
        self.decoder = Decoder(config)
        assert self.show.bias is not None
        nn.init.constant_(self.show.weight, 1 / channels)
        nn.init.zeros_(self.show.bias)

    def fresh_state(self, face: Tensor) -> State:
        """The state before the first frame, for faces shaped like `face` [B, 3, H, W]."""
        batch, _, height, width = face.shape
        h, w, channels = height // 8, width // 8, self.config.channels[3]
        slots, blocks = self.config.delta - 1, self.config.blocks
        return State(
            face_prev=torch.zeros_like(face),
            found_prev=face.new_zeros(batch, channels, h, w),
            references=face.new_zeros(batch, slots, blocks, 2, h, w, channels),
            valid=face.new_zeros(batch, slots),
            seen=face.new_zeros(batch, 1),
        )

    def refine(self, found: Tensor, found_prev: Tensor, flow: Tensor, seen: Tensor) -> Tensor:
        """M^ in [0, 1] of Eq. 3 [N, C, h, w], from maps of N and the flow at the face's size."""
        if self.config.fir:
            small = F.avg_pool2d(flow, 8) / 8
            found = self.fir(found, found_prev, small, seen.reshape(-1, 1, 1, 1))
        return torch.sigmoid(found)

    def forward(self, face: Tensor, state: State) -> Step:
        """One causal step.

        Args:
            face: [B, 3, H, W] RGB in [0, 1], H and W multiples of `config.multiple`; 512 in the paper.
            state: of this stream, `fresh_state(face)` before its first frame; not changed.
        """
        features = self.encoder(face)
        found = self.localizer(face, features)  # Eq. 2
        flow = self.spynet(state.face_prev, face)  # Eq. 1
        refined = self.refine(found, state.found_prev, flow, state.seen)  # Eq. 3
        tokens, mask = to_tokens(features), to_tokens(refined)
        reference = self.transformer.references(tokens, mask)[:, None]  # Eq. 4
        references = torch.cat([state.references, reference], dim=1)
        valid = torch.cat([state.valid, torch.ones_like(state.seen)], dim=1)
        if self.config.mma:
            sums = reference_sum(references, valid[:, None], self.config.delta)[:, 0]
            features = from_tokens(self.transformer(tokens, mask, sums))  # Eq. 5-6
        pushed = State(face, found, references[:, 1:], valid[:, 1:], torch.ones_like(state.seen))
        shown = F.interpolate(self.show(refined), size=face.shape[-2:], mode="bilinear", align_corners=False)
        return Step(self.decoder(features) - face, shown.clamp(0, 1), pushed)

    step = forward

    def clip(self, faces: Tensor, references: str = "past") -> Retouched:
        """Whole clips at once; with references "past" the same as step after step.

        Args:
            faces: [B, T, 3, H, W] RGB in [0, 1].
            references: "past" or "around", see `choose`.
        """
        batch, frames = faces.shape[:2]
        flat = faces.flatten(0, 1)
        features = self.encoder(flat)
        found = self.localizer(flat, features)
        flow = self.spynet(before(faces).flatten(0, 1), flat)
        found_prev = before(found.reshape(batch, frames, *found.shape[1:])).flatten(0, 1)
        seen = (torch.arange(frames, device=faces.device) > 0).to(faces.dtype).repeat(batch)
        refined = self.refine(found, found_prev, flow, seen)
        if self.config.mma:
            tokens, mask = to_tokens(features), to_tokens(refined)
            made = self.transformer.references(tokens, mask)
            made = made.reshape(batch, frames, *made.shape[1:])
            counts = choose(frames, self.config.delta, references).to(faces.device)
            sums = reference_sum(made, counts.expand(batch, -1, -1), self.config.delta)
            features = from_tokens(self.transformer(tokens, mask, sums.flatten(0, 1)))
        image, shown = self.decoder(features), self.show(refined)
        return Retouched(*(x.reshape(batch, frames, *x.shape[1:]) for x in (image, shown, flow)))


def before(x: Tensor) -> Tensor:
    """[B, T, ...] a frame later: zeros, then all frames but the last."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)


def to_tokens(x: Tensor) -> Tensor:
    """[B, C, h, w] to [B, h, w, C]."""
    return x.permute(0, 2, 3, 1)


def from_tokens(x: Tensor) -> Tensor:
    """[B, h, w, C] to [B, C, h, w]."""
    return x.permute(0, 3, 1, 2)
