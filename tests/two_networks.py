"""Two exported networks with fresh weights, to make reports of, and ways to change them."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import onnx
import torch

from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY, UNSEALED, seal
from export.graph import finish, translate
from train.resnet import build_resnet

HISTORY = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy\n1,0.7,0.5,0.7,0.75\n2,0.6,0.7,0.6,0.6\n"


def write_network(folder: Path, card: ModelCard, seed: int) -> None:
    """Export fresh weights whose verdicts differ, as the network that the card names."""
    (folder / card.arch).mkdir(parents=True)
    of_all = replace(card, temperature=1.0, threshold=0.5)  # of what the graph holds, ``finish`` sets the temperature
    (folder / card.arch / "model.onnx").write_bytes(finish(_graph(of_all.to_json(), seed), card, "float32"))


@lru_cache(maxsize=4)
def _graph(card: str, seed: int) -> onnx.ModelProto:
    """A network of fresh weights, translated once for several tests of a file: it takes seconds."""
    torch.manual_seed(seed)
    network = build_resnet("resnet18").eval()
    torch.nn.init.normal_(network.fc.weight, std=0.3)
    return translate(network, ModelCard.from_json(card))


def write_networks(folder: Path, card: ModelCard) -> None:
    """Two networks (both with ResNet18's graph, to be quick) of differing temperature and threshold, and a history."""
    write_network(folder, card, 1)
    write_network(folder, replace(card, arch="resnet50", temperature=2.0, threshold=0.4, operating_point="balanced"), 2)
    (folder / "resnet18" / "history.csv").write_text(HISTORY)


def recard(path: Path, **changes: object) -> None:
    """Rewrite keys of an exported network's card."""
    model = onnx.load(path)
    (entry,) = [p for p in model.metadata_props if p.key == METADATA_KEY]
    entry.value = json.dumps(json.loads(entry.value) | changes)
    write_sealed(model, path)


def write_sealed(model: onnx.ModelProto, path: Path) -> None:
    (digest,) = (prop for prop in model.metadata_props if prop.key == DIGEST_KEY)
    digest.value = UNSEALED
    path.write_bytes(seal(model.SerializeToString()))
