"""Random numbers of one batch: a row an image, a stream of its own for every purpose."""

import zlib
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Numbers that depend on seed, step, purpose and the image's place in the whole batch, and on nothing else.

    So a resumed run draws what an uninterrupted one would, two processes draw together what one would, and switching
    one augmentation on leaves the numbers of the others as they were. All tensors are on the CPU.
    """

    seed: int
    step: int  # since the start of the run
    total: int  # images of the whole batch, over all processes
    rows: slice = field(default_factory=lambda: slice(None))  # those of this process

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """float32 ``[n, *shape]`` in 0..1, 1 excluded."""
        return torch.from_numpy(self._generator(purpose).random((self.total, *shape), np.float32)[self.rows])

    def signed(self, purpose: str, *shape: int) -> Tensor:
        """float32 ``[n, *shape]`` in -1..1."""
        return 2 * self.uniform(purpose, *shape) - 1

    def beta(self, purpose: str, alpha: float) -> Tensor:
        """float32 ``[n]`` of the distribution Beta(alpha, alpha)."""
        drawn: NDArray[np.float64] = self._generator(purpose).beta(alpha, alpha, self.total)
        return torch.from_numpy(drawn[self.rows]).float()

    def chosen(self, purpose: str, share: float) -> Tensor:
        """Positions, int64, of a random ``share`` of the images."""
        return torch.nonzero(self.uniform(purpose) < share).flatten()

    def _generator(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.step, zlib.crc32(purpose.encode())])


def moved(values: Tensor, device: torch.device) -> Tensor:
    """``values`` on ``device`` without waiting: a copy from pageable memory would stop the CPU until it is done."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
