"""BatchNorm over the whole batch of several processes, on the CPU: torch's ``SyncBatchNorm`` is for GPUs only."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn


class SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return SumOverRanks.apply(gradient.contiguous())


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """In training, mean and variance are of the batches of all processes together; else as ``nn.BatchNorm2d``.

    Two passes (mean, then squared distances from it), in float32: what one process would compute, within rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = SumOverRanks.apply(torch.cat([values.sum(dim=(0, 2, 3)), count]))
        mean, n = sums[:-1] / sums[-1], sums[-1].detach()
        centred = values - mean.view(1, -1, 1, 1)
        variance = SumOverRanks.apply(centred.square().sum(dim=(0, 2, 3))) / n
        self._follow(mean.detach(), variance.detach() * n / (n - 1).clamp(min=1))
        factor = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * factor.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of this batch."""
        assert self.momentum is not None  # else torch's is the mean of all batches, which no network here takes
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr]
            self.running_var.lerp_(variance, self.momentum)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]


def replace_batch_norm(model: nn.Module, kind: type[nn.BatchNorm2d]) -> nn.Module:
    """``model`` itself with every BatchNorm made a ``kind`` that holds the same weights and statistics."""
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            new = kind(child.num_features, child.eps, child.momentum).to(child.weight.device)
            new.load_state_dict(child.state_dict())
            setattr(model, name, new)
        else:
            replace_batch_norm(child, kind)
    return model
