"""The command line of this room."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from contract.errors import UserError
from contract.manifest import NAME, load_manifest
from contract.model_card import ModelCard
from contract.publish import publish_bytes
from contract.shard_reader import SplitReader
from export.graph import to_onnx
from export.verify import verify
from train.checkpoint import load_checkpoint, load_weights
from train.resnet import ARCHITECTURES, build_resnet

CROPS = 32  # of the validation split, compared beside fixed and random images where the shards are there


@dataclass(frozen=True)
class Export:
    """Export trained networks: ARTIFACTS/ARCH/best.pt -> ARTIFACTS/ARCH/model.onnx, verified against torch first."""

    arch: Literal["resnet18", "resnet50", "resnet152", "all"] = "all"  # network; all: every one that is trained
    artifacts: Path = Path("artifacts")  # folder of the trained networks
    shards: Path = Path("shards")  # folder of the shards; some of their cells are compared where it is there


def main() -> None:
    """Export one network, or all that are trained."""
    command = tyro.cli(Export, prog="python -m export", description=Export.__doc__)
    archs = [command.arch] if command.arch != "all" else _trained(command.artifacts)
    for arch in archs:
        _export(arch, command)


def _trained(artifacts: Path) -> list[str]:
    found = [arch for arch in ARCHITECTURES if (artifacts / arch / "best.pt").is_file()]
    if not found:
        raise UserError(f"{artifacts}: no trained network there (ARCH/best.pt): make train ARCH=resnet18")
    return found


def _export(arch: str, command: Export) -> None:
    card, state = load_checkpoint(command.artifacts / arch / "best.pt")
    if card.arch != arch:
        raise UserError(f"{command.artifacts / arch / 'best.pt'}: holds a {card.arch}, not a {arch}")
    network = build_resnet(arch, len(card.classes))
    load_weights(network, state, command.artifacts / arch / "best.pt")
    onnx_bytes = to_onnx(network.eval(), card)
    comparison = verify(onnx_bytes, network, card, _crops(command.shards, card))
    path = command.artifacts / arch / "model.onnx"
    publish_bytes(path, onnx_bytes)
    print(
        f"{path}: {len(onnx_bytes) / 1e6:.1f} MB, {card.recipe.size} px; against torch float64 on "
        f"{comparison.images} images: logits within {comparison.logit_error:.1e}, "
        f"probability within {comparison.probability_error:.1e}, decisions identical"
    )


def _crops(shards: Path, card: ModelCard) -> NDArray[np.uint8]:
    """The first cells of the validation split, where the network's own shards are there; else none."""
    size = card.recipe.size
    if not (shards / NAME).is_file() or load_manifest(shards).digest != card.manifest_digest:
        print(f"note: {shards} does not hold the shards of this network: compared on fixed and random images only")
        return np.zeros((0, size, size, 3), np.uint8)
    reader = SplitReader(shards, load_manifest(shards), "valid")
    return np.stack([reader.image(i) for i in range(min(CROPS, len(reader)))])
