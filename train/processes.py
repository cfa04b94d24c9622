"""The processes of one run: one by default, several under ``torchrun --nproc-per-node N -m train ...``."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
import torch.distributed.nn.functional  # now, not inside a group: defaults of its functions keep the group they find
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from contract.errors import UserError
from train.batch_norm import SynchronisedBatchNorm, replace_batch_norm


@dataclass(frozen=True)
class Processes:
    """Which process this is (``rank``), and how many share the run (``ranks``)."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0  # on this machine: the number of its GPU

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Sum over all processes, on every process."""
        if self.ranks > 1:
            torch.distributed.all_reduce(values)
        return values

    def gathered(self, value: Any) -> list[Any]:
        """Every process's ``value`` (tensors on the CPU, lists, numbers), in the order of ranks."""
        values: list[Any] = [value]
        if self.ranks > 1:
            values = [None] * self.ranks
            torch.distributed.all_gather_object(values, value)
        return values

    def largest(self, number: int) -> int:
        """The largest ``number`` of all processes; it stays on the CPU, so a GPU is not waited for."""
        if self.ranks == 1:
            return number
        value = torch.tensor(number)
        torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
        return int(value.item())

    def shared(self, model: nn.Module, device: torch.device) -> nn.Module:
        """``model`` as one process of several runs it: gradients are averaged after each backward pass."""
        if self.ranks == 1:
            return model
        device_ids = [device] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids, forward_sync_buffers=False, gradient_as_bucket_view=True)

    def synchronised(self, model: nn.Module, device: torch.device) -> nn.Module:
        """``model`` whose BatchNorm takes its statistics from the whole batch, over all processes."""
        if self.ranks == 1:
            return model
        if device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return replace_batch_norm(model, SynchronisedBatchNorm)


@contextlib.contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, and leave them at the end; one process where it did not.

    Sums and objects on the CPU go through gloo, on the GPU through nccl. Gloo's threads end with the group: one that is
    still at work when the interpreter ends aborts the process. Raises ``UserError`` where some of torchrun's variables
    are set and others are not, as schedulers leave them.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Processes()
        return
    try:
        joined = Processes(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    except (KeyError, ValueError) as error:
        said = f"WORLD_SIZE {os.environ['WORLD_SIZE']}: several processes are started by torchrun"
        raise UserError(f"{said}: start them so, or unset it ({error})") from None
    try:
        yield joined
    finally:
        torch.distributed.destroy_process_group()


def pick_device(wanted: str, local_rank: int = 0) -> torch.device:
    """``auto`` takes CUDA where it is usable; ``cuda`` without a usable GPU is an error, never a slow success."""
    usable = torch.cuda.is_available()
    if wanted == "cuda" and not usable:
        raise UserError("--device cuda: no usable GPU: torch.cuda.is_available() is false")
    if not usable or wanted == "cpu":
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise UserError(
            f"--device {wanted}: process {local_rank} has no GPU of its own: {torch.cuda.device_count()} here"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
