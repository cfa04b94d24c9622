"""What helps after training? The finished networks of an ablation, judged again in other ways.

    python -m benchmarks.at_test_time --data FOLDER --setting stain=none

Nothing is trained. Each network that benchmarks/ablation.py left for the setting is judged on people never seen and on
new images of people seen: as it is (averaged weights), by its last weights, averaged over the 8 orientations of a cell,
and with the BatchNorm statistics of the judged cells instead of the training's (Nado et al. 2020, arXiv:2006.10963).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
import tyro
from torch import Tensor, nn

from benchmarks.ablation import JUDGED, Ablation, Look, Way, described, labelled_cells, look_once, planned, predict
from benchmarks.ablation_scores import read
from benchmarks.ablation_settings import Network
from benchmarks.ablation_table import show
from contract.command import run_command
from contract.manifest import load_manifest
from contract.publish import publish_text
from train.data import Batches
from train.normalise import Normalise


@dataclass(frozen=True)
class TestTime:
    """Judge an ablation's finished networks again, in four ways, and print the table."""

    data: Path  # folder of the ablation's dataset: which networks are its own
    setting: str = "stain=none"  # of the ablation
    arch: Literal["resnet18", "resnet50", "resnet152"] = "resnet18"  # of the ablation
    out: Path = Path("artifacts/ablation")  # of the ablation
    size: int = 64  # px, of the ablation
    epochs: int = 10  # of the ablation
    initial: str = ""  # of the ablation
    folds: int = 2  # of the ablation
    held: tuple[int, ...] = ()  # of the ablation
    seeds: tuple[int, ...] = (0, 1)  # of the ablation


def main(command: TestTime) -> None:
    """Judge what was not judged yet, then print the table; raises ``UserError`` for a network that is not there."""
    ablation = Ablation(
        data=command.data,
        settings=(command.setting,),
        out=command.out,
        arch=command.arch,
        size=command.size,
        epochs=command.epochs,
        initial=command.initial,
        folds=command.folds,
        held=command.held,
        seeds=command.seeds,
    )
    files = []
    for network in planned(ablation, labelled_cells(command.data).digest):
        files.append(command.out / "at_test_time" / network.file.name)
        if not files[-1].is_file():
            publish_text(files[-1], judge(network).to_csv(index=False))
    show(read(files), tuple(WAYS))


def judge(network: Network) -> pd.DataFrame:
    """Every way for one network: the rows of the ablation with the way in place of the setting."""
    manifest = load_manifest(network.shards)
    parts = []
    for name, (weights, way) in WAYS.items():
        found = pd.concat([predict(network, manifest, split, weights, way) for split in JUDGED])
        parts.append(described(found, network, name, 0.0))
    return pd.concat(parts, ignore_index=True)


def look_from_all_sides(model: nn.Module, normalise: Normalise, batches: Batches) -> Look:
    """The mean logits over the four quarter turns of an image and of its mirror image."""
    look = look_once(model, normalise, batches)

    def logits(images: Tensor) -> Tensor:
        views = [torch.rot90(i, k, dims=(1, 2)) for i in (images, images.flip(2)) for k in range(4)]
        return torch.stack([look(view) for view in views]).mean(0)

    return logits


def look_with_their_statistics(model: nn.Module, normalise: Normalise, batches: Batches) -> Look:
    """The same weights, BatchNorm's mean and variance measured anew over the judged cells; no label is used."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over all batches
    model.train()
    look = look_once(model, normalise, batches)
    for batch in batches:
        look(batch.images)
    model.eval()
    return look


WAYS: dict[str, tuple[str, Way]] = {
    "as trained": ("ema", look_once),
    "last weights, not averaged": ("model", look_once),
    "8 orientations": ("ema", look_from_all_sides),
    "BatchNorm statistics of the judged cells": ("ema", look_with_their_statistics),
}


def cli() -> None:
    """Read the command line and run."""
    main(tyro.cli(TestTime, prog="python -m benchmarks.at_test_time", description=__doc__))


if __name__ == "__main__":
    run_command("benchmarks.at_test_time", "cli")
