"""A teacher: what a wider network makes of a clip, for a narrower one to learn from (Hinton et al., 2015).

Part of a clip's target nobody can know: which redness is the face's own, say. The teacher's picture is close
to what can be known, so that a target between the two is a steadier one.
"""

from dataclasses import replace
from pathlib import Path

import torch

from model.data.clips import Clip
from model.vretoucher import VRetouchEr
from model.weights import load_weights


class Teacher:
    """A trained network that no step changes. lean: how far targets go to its pictures, 0 to 1."""

    def __init__(self, weights: Path, lean: float, device: str, bf16: bool) -> None:
        """Raises:
        WeightsError: there are no such weights.
        """
        network: VRetouchEr = load_weights(weights).to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.lean, self.bf16 = network.eval(), lean, bf16
        self.kind = torch.device(device).type

    @torch.no_grad()
    def taught(self, clip: Clip) -> Clip:
        """The clip with targets that lean towards the teacher's pictures, made frame after frame."""
        state = self.network.fresh_state(clip.raw[:, 0])
        made = []
        for face in clip.raw.unbind(1):
            with torch.autocast(self.kind, torch.bfloat16, enabled=self.bf16):
                step = self.network.step(face, state)
            state = step.state
            made.append(face + step.residual.float())
        return replace(clip, target=clip.target.lerp(torch.stack(made, 1), self.lean))
