"""Knowledge distillation: a network learns what a trained one says of the same augmented image, not its label alone.

Sources: Hinton, Vinyals & Dean 2015 (arXiv:1503.02531); that both must see the same view: Beyer et al. 2022
(arXiv:2106.05237). The teacher is a network of this project, trained on the same cells.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contract.manifest import Manifest
from contract.publish import file_sha256
from train.checkpoint import load_weights
from train.config import Config
from train.lent import load_lent, refuse_different
from train.resnet import build_apart


@dataclass(frozen=True)
class Teacher:
    """A trained network, and the share of the targets that is its own."""

    network: nn.Module
    share: float
    name: str  # what a card says of it

    def soften(self, targets: Tensor, x: Tensor, autocast: torch.autocast) -> Tensor:
        """Targets, float ``[N, classes]``, that go ``share`` of the way to what it says of ``x``, ``[N, C, H, W]``.

        A row of zeros, of a padding sample, stays one.
        """
        with torch.no_grad(), autocast:
            said = self.network(x.contiguous(memory_format=torch.channels_last)).float().softmax(1)
        return torch.lerp(targets, said * targets.sum(1, keepdim=True), self.share)


def load_teacher(config: Config, manifest: Manifest, device: torch.device) -> Teacher | None:
    """The network of ``config.teacher`` on ``device``; None where there is none.

    Raises ``UserError`` for a network of other shards or classes, or one whose cells were standardised otherwise; for
    one that this run would overwrite; and for a refit where this run is none: it may have learned cells that are judged
    here.
    """
    path = config.teacher
    if path is None:
        return None
    card, state = load_lent("--teacher", path, config)
    now: dict[str, Any] = {"classes": manifest.classes, "the shards' manifest": manifest.digest[:12]}
    then: dict[str, Any] = {"classes": card.classes, "the shards' manifest": card.manifest_digest[:12]}
    now["standardise"], then["standardise"] = config.standardise, card.training.get("standardise") is True
    now["colours"], then["colours"] = config.standardise and config.colours, card.channels == 6
    refuse_different("--teacher", path, "does not see what this run shows", then, now)
    network = build_apart(card.arch, card.channels)
    load_weights(network, state, path)
    network.requires_grad_(requires_grad=False).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    name = f"{card.arch}, epoch {card.epoch}, SHA-256 {file_sha256(path)}"
    return Teacher(network, config.teacher_share, name)
