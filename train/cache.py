"""Decoded samples that are kept: in memory that the workers share, or on the device that trains."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from contract.errors import UserError
from contract.shard_reader import Image, SplitReader
from train.batch_plan import PAD, Positions
from train.shared_array import SharedArray

CacheKind = Literal["none", "ram", "device"]


class Ring:
    """No cache: ``slots`` batches in flight between the workers and the training process, used in turn."""

    def __init__(self, slots: int, batch_size: int, size: int) -> None:
        shape = (slots, batch_size, size, size, 3)
        remedy = "fewer --workers, a smaller --batch-size, or a larger /dev/shm (docker run --shm-size)"
        self.slots = SharedArray(shape, np.uint8, f"the loader ({slots} batches in flight)", remedy)

    def wants(self, position: int) -> bool:  # noqa: ARG002
        return True

    def place(self, k: int, row: int, position: int) -> Image:  # noqa: ARG002
        return self.slots.array[k % self.slots.shape[0], row]

    def take(self, k: int, part: Positions, images: Image) -> None:
        real = part != PAD
        images[real] = self.slots.array[k % self.slots.shape[0], : len(part)][real]


class RamCache:
    """A split's decoded samples in one shared array, filled by the workers of the first epoch.

    A sample counts as kept when the training process has received its batch: what a killed worker left half
    written is never used.
    """

    def __init__(self, reader: SplitReader) -> None:
        shape = (len(reader), reader.size, reader.size, 3)
        purpose = f"--cache ram for the split {reader.what!r} ({len(reader)} samples)"
        remedy = "--cache none, or a larger /dev/shm (docker run --shm-size)"
        self.images = SharedArray(shape, np.uint8, purpose, remedy)
        self.kept = np.zeros(len(reader), bool)

    @property
    def full(self) -> bool:
        return bool(self.kept.all())

    def wants(self, position: int) -> bool:
        return not self.kept[position]

    def place(self, k: int, row: int, position: int) -> Image:  # noqa: ARG002
        return self.images.array[position]

    def take(self, k: int, part: Positions, images: Image) -> None:  # noqa: ARG002
        if PAD in part:
            images[part != PAD] = self.images.array[part[part != PAD]]
        else:
            np.take(self.images.array, part, axis=0, out=images, mode="clip")
        self.kept[part[part != PAD]] = True


class DeviceCache:
    """A whole split on the device that trains: uint8 images ``[n, H, W, 3]`` and int64 labels ``[n]``."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels


Cache = RamCache | DeviceCache


def empty_on_device(reader: SplitReader, device: torch.device) -> Tensor:
    """Room for a split's images on ``device``; raises ``UserError`` before anything is read where it is too small."""
    shape = (len(reader), reader.size, reader.size, 3)
    if device.type == "cuda":
        free, needed = torch.cuda.mem_get_info(device)[0], int(np.prod(shape))
        if needed > free:
            raise UserError(
                f"--cache device for the split {reader.what!r} ({len(reader)} samples) needs "
                f"{needed / 2**20:,.1f} MiB, the GPU has {free / 2**20:,.1f} MiB free: --cache ram or --cache none"
            )
    return torch.empty(shape, dtype=torch.uint8, device=device)
