"""A second head that tells people apart, while training alone: it makes features of people, or unmakes them.

With a positive weight the network learns two tasks at once (Caruana 1997, doi:10.1023/A:1007379606734). With a negative
one the gradient that reaches its features is reversed, so that they lose what tells people apart (Ganin & Lempitsky
2015, arXiv:1409.7495). Of the head nothing is exported.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.draws import moved
from train.objective import cross_entropy, targets_of
from train.resnet import ResNet


class People:
    """The people of a split, numbered by name, and whose every sample is."""

    def __init__(self, reader: SplitReader, manifest: Manifest) -> None:
        people = [manifest.identity(subject) for subject in reader.subjects]
        names = sorted({person for person in people if person is not None})
        place = {name: i for i, name in enumerate(names)}
        known = zip(reader.samples, people, strict=True)
        self.number = {sample.key: place[person] for sample, person in known if person is not None}
        self.count = len(names)

    def of(self, keys: Sequence[str], nobody: int, device: torch.device) -> Tensor:
        """Int64 ``[N]``: the person of each key; ``nobody`` where none is known, and for padding samples (key "")."""
        return moved(torch.tensor([self.number.get(key, nobody) for key in keys]), device)


class SubjectHead(nn.Module):
    """A network with a linear layer beside its own: ``[N, C, H, W] -> [N, classes + people]``, float."""

    def __init__(self, network: ResNet, people: People, weight: float) -> None:
        """``weight`` is that of the head's loss, to which unknown people add nothing; below zero, it is unlearned."""
        super().__init__()
        self.network, self.people, self.weight = network, people, weight
        self.subjects = nn.Linear(network.fc.in_features, people.count).to(network.fc.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.network.pooled(x)
        seen = pooled if self.weight > 0 else 2 * pooled.detach() - pooled  # the same value; its gradient reversed
        return torch.cat([self.network.fc(pooled), self.subjects(seen)], 1)

    def beside(self, targets: Tensor, keys: Sequence[str]) -> Tensor:
        """Targets of both heads, float ``[N, classes + people]``, from those of the classes."""
        people = targets_of(self.people.of(keys, -1, targets.device), self.people.count)
        return torch.cat([targets, people], 1)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Weighted sum over the batch of the cross-entropy of the people, both float ``[N, people]``."""
        return abs(self.weight) * cross_entropy(logits, targets, None, 0.0)
