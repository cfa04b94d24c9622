"""BatchNorm of several processes, in one alone; in two, beside torch's own, it is tested in test_processes.py."""

import pytest
import torch
from torch import nn

from train.batch_norm import SynchronisedBatchNorm


def test_statistics_of_bfloat16_images_are_taken_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda _: None)  # the sum over one process
    x = (5 + torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))).bfloat16()
    plain, ours = nn.BatchNorm2d(3), SynchronisedBatchNorm(3)
    wanted, found = plain(x.float()), ours(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted.bfloat16())
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)
