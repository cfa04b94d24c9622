"""What helps after training? The finished networks of an ablation, judged again in other ways.

    python -m benchmarks.at_test_time --setting stain=none

Nothing is trained. Each network that benchmarks/ablation.py left for the setting is judged on people never seen and on
new images of people seen: as it is (averaged weights), by its last weights, averaged over the 8 orientations of a cell,
and with the BatchNorm statistics of the judged cells instead of the training's (Nado et al. 2020, arXiv:2006.10963).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import tyro
from torch import Tensor, nn

from benchmarks.ablation import Ablation, Look, Way, chosen, look_once, predict, shards_folder, show, training
from contract.errors import UserError
from contract.manifest import load_manifest
from contract.publish import publish_text
from contract.recipe import Recipe
from train.data import Batches
from train.normalise import Normalise


@dataclass(frozen=True)
class TestTime:
    """Judge an ablation's finished networks again, in four ways, and print the table."""

    setting: str = "stain=none"  # of the ablation
    out: Path = Path("artifacts/ablation")  # of the ablation
    size: int = 64  # px, of the ablation
    epochs: int = 10  # of the ablation
    folds: int = 2  # of the ablation
    seeds: tuple[int, ...] = (0, 1)  # of the ablation


def main(command: TestTime) -> None:
    ablation = Ablation(Path(), (command.setting,), command.out, "resnet18", command.size, command.epochs)
    tables = []
    for seed in command.seeds:
        for fold in range(1, command.folds + 1):
            file = command.out / f"test-time-{command.setting}-{command.size}px-e{command.epochs}-s{seed}-f{fold}.csv"
            if not file.is_file():
                publish_text(file, judge(ablation, seed, fold).to_csv(index=False))
            tables.append(pd.read_csv(file, dtype={"identity": str}))
    show(pd.concat(tables, ignore_index=True))


def judge(ablation: Ablation, seed: int, fold: int) -> pd.DataFrame:
    """Every way for one network: the rows of the ablation with the way in place of the setting."""
    setting = ablation.settings[0]
    folder = shards_folder(ablation, Recipe(size=ablation.size, **chosen(setting, Recipe)), seed, fold)
    manifest = load_manifest(folder)
    config, checkpoint = training(ablation, setting, seed, fold, folder)
    parts = []
    for name, (weights, way) in WAYS.items():
        for split in ("valid", "seen"):
            found = predict(config, manifest, checkpoint, split, weights, way)
            parts.append(found.assign(setting=name, seed=seed, fold=fold, minutes=0.0))
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


if __name__ == "__main__":
    try:
        main(tyro.cli(TestTime, prog="python -m benchmarks.at_test_time"))
    except UserError as error:
        sys.exit(f"error: {error}")
