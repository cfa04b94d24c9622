"""Group distributionally robust optimisation: the loss leans towards the people whose cells are learned worst.

Source: Sagawa, Koh, Hashimoto & Liang, "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020
(arXiv:1911.08731), algorithm 1; a group is a person.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.processes import Processes
from train.subject_head import People


class PeopleWeights:
    """Weights of people, which sum to one and grow by ``exp(step * loss)`` with every batch that holds their cells."""

    def __init__(self, reader: SplitReader, manifest: Manifest, step: float, device: torch.device) -> None:
        """Even weights; raises ``UserError`` where a cell's subject is unknown."""
        self.people = People(reader, manifest)
        unknown = [sample.key for sample in reader.samples if sample.key not in self.people.number]
        if unknown:
            raise UserError(f"--group-dro: sample {unknown[0]!r} has no subject")
        self.step = step
        count = self.people.count
        self.weights = torch.full((count,), 1 / count, dtype=torch.float64, device=device)

    def of_batch(self, losses: Tensor, keys: Sequence[str], processes: Processes) -> Tensor:
        """Learn from a batch's losses, float ``[N]``; returns float ``[N]``, by which their sum is the robust loss.

        That is the sum over people of weight times mean loss, over the parts of all processes together. A padding
        sample (key "") has weight zero.
        """
        nobody = self.people.count
        index = self.people.of(keys, nobody, losses.device)
        found = torch.zeros((2, nobody + 1), dtype=torch.float64, device=losses.device)
        found.index_add_(1, index, torch.stack([losses.detach().double(), torch.ones_like(losses).double()]))
        total, count = processes.total(found)[:, :nobody]
        grown = self.weights * (self.step * total / count.clamp(min=1)).exp()
        self.weights.copy_(grown / grown.sum())
        shares = torch.cat([self.weights / count.clamp(min=1), self.weights.new_zeros(1)])
        return shares[index].to(losses.dtype)
