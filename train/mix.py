"""Mixing of two cells and of their labels: mixup and cutmix.

Sources: Zhang et al. 2018, arXiv:1710.09412 (mixup); Yun et al. 2019, arXiv:1905.04899 (cutmix). The partner of a
sample is its neighbour in the batch, whose order is random already; so the pairs do not depend on how many processes
share a batch, as long as each has an even number of samples.
"""

import torch
from torch import Tensor

from train.draws import Draws, moved
from train.geometry import boxes_of


def mix(x: Tensor, targets: Tensor, mixup: float, cutmix: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Mix images ``[N, C, H, W]`` and targets, float ``[N, classes]``, with their partners.

    ``mixup`` and ``cutmix`` are the alphas of Beta(alpha, alpha), 0 is off; where both are on, a coin chooses an image.
    The partner's share is the lesser one: mixup leaves a sample's own label the greater part, cutmix pastes at most
    half of the image; where that holds more than half of the cell pixels, the partner's label has the greater part.
    """
    partner = moved((torch.arange(len(x)) ^ 1).clamp(max=len(x) - 1), x.device)
    cut = draws.uniform("mix") < 0.5 if mixup and cutmix else torch.full((len(x),), bool(cutmix))
    if cutmix:
        sides = torch.sqrt(_lesser(draws, "cutmix", cutmix) * cut)[:, None].expand(-1, 2)
        box = boxes_of(x.shape[2], x.shape[3], draws.uniform("cutmix place", 2), sides)
        x, targets = _paste(x, targets, partner, moved(box, x.device))
    if mixup:
        share = moved(_lesser(draws, "mixup", mixup) * ~cut, x.device)
        x = torch.lerp(x, x[partner], share.view(-1, 1, 1, 1).to(x.dtype))
        targets = torch.lerp(targets, targets[partner], share.view(-1, 1))
    return x, targets


def _lesser(draws: Draws, purpose: str, alpha: float) -> Tensor:
    """The partner's share: the lesser one of two that add up to 1."""
    drawn = draws.beta(purpose, alpha)
    return torch.minimum(drawn, 1 - drawn)


def _paste(x: Tensor, targets: Tensor, partner: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Paste the partner's pixels into ``box``, bool ``[N, 1, H, W]``; labels go by cell pixels."""
    cells = (x != 0).any(dim=1, keepdim=True)
    own = (cells & ~box).sum(dim=(1, 2, 3)).to(targets.dtype)
    theirs = (cells[partner] & box).sum(dim=(1, 2, 3)).to(targets.dtype)
    share = (theirs / (own + theirs).clamp(min=1)).view(-1, 1)
    return torch.where(box, x[partner], x), torch.lerp(targets, targets[partner], share)
