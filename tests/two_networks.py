"""Two exported networks with fresh weights, to make reports of, and ways to change them."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import torch
from narrow_network import NarrowNetwork

from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY, UNSEALED, seal
from contract.recipe import Recipe
from export.graph import finish, translate

HISTORY = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy\n1,0.7,0.5,0.7,0.75\n2,0.6,0.7,0.6,0.6\n"


def write_network(folder: Path, card: ModelCard, seed: int) -> None:
    """Export fresh weights whose verdicts differ, as the network that the card names."""
    (folder / card.arch).mkdir(parents=True)
    assert not {"standardise", "colours"} & set(card.training), "the graph knows neither"
    model = onnx.ModelProto()
    model.CopyFrom(_graph(card.recipe.size))
    (classifier,) = (node.input[1] for node in model.graph.node if "cam" in node.output)
    drawn = np.random.default_rng(seed).normal(scale=3, size=(2, 16, 1, 1))
    for name, values in (("normalise.mean", card.mean), ("normalise.std", card.std), (classifier, drawn)):
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        array = np.array(values, np.float32).reshape(tuple(tensor.dims))
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    (folder / card.arch / "model.onnx").write_bytes(finish(model, card, "float32"))


@lru_cache
def _graph(size: int) -> onnx.ModelProto:
    """A network of fresh weights for images of this size, translated once for many tests: it takes seconds."""
    torch.manual_seed(0)
    seen = SimpleNamespace(recipe=Recipe(size=size), mean=(0.0,) * 3, std=(1.0,) * 3, training={}, temperature=1.0)
    return translate(NarrowNetwork().eval(), seen)  # type: ignore[arg-type]


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
