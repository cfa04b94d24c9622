"""Does it help? One network a setting, fold and seed, judged on people never seen and on new images of people seen.

    python -m benchmarks.ablation --data FOLDER --settings stain=none standardise=True size=112,epochs=20 --baseline

The labelled cells (train and valid) are cut into folds of whole identities. A network is trained on the other folds
less every tenth image, for a fixed number of epochs; its last averaged weights are judged on the fold (people never
seen) and on those tenth images (people seen): one network, so that the difference is the price of knowing the people.
Nothing is chosen by either. A finished network is not trained again: the command goes on where it was stopped. What is
finished is told by names that carry everything a setting means, defaults too, but not the code: a folder an ablation.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import tyro
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn

from benchmarks.ablation_scores import read
from benchmarks.ablation_settings import BASELINE, Network, configured, short_enough
from benchmarks.ablation_table import show
from build_shards.dataset import Dataset, read_dataset
from build_shards.pool import refuse_workers
from build_shards.shards import build
from build_shards.split import SplitChoice, find_people, split_dataset
from contract.command import run_command
from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.model_card import YOUNGER, ModelCard
from contract.publish import publish_text
from contract.shard_reader import SplitReader
from train.baseline import Measurer
from train.checkpoint import load_checkpoint, load_weights, save_checkpoint
from train.config import recipe_of
from train.data import Batches, open_labelled, valid_batches
from train.interrupt import StoppedError
from train.loop import train
from train.normalise import Normalise
from train.resnet import build_resnet
from train.schedule import all_epochs

STAINS_AND_CROPS = tuple(f"stain={s},crop={c}" for c in ("native", "box") for s in ("none", "reinhard", "macenko"))
JUDGED = ("valid", "seen")  # splits of the shards: people never seen, and new images of people seen
Look = Callable[[Tensor], Tensor]
Way = Callable[[nn.Module, Normalise, Batches], Look]  # how a network looks at images, from itself and those images


@dataclass(frozen=True)
class Ablation:
    """Train a network for every setting, fold and seed, and print the table of what each setting brings."""

    data: Path  # folder of the dataset, with subjects
    settings: tuple[str, ...] = STAINS_AND_CROPS  # each FIELD=VALUE,FIELD=VALUE of a recipe or of a training
    out: Path = Path("artifacts/ablation")  # keeps predictions, networks and shards
    arch: Literal["resnet18", "resnet50", "resnet152"] = "resnet18"  # where a setting names no other
    size: int = 64  # px, where a setting names no other
    epochs: int = 10  # where a setting names no other
    initial: str = ""  # a setting that is finished: each network starts from its weights, of the same seed and fold
    folds: int = 2  # of whole identities
    held: tuple[int, ...] = ()  # folds to hold out; default: each in turn, so that every identity is held out once
    seeds: tuple[int, ...] = (0, 1)  # of folds, weights and augmentation
    baseline: bool = False  # a row more: the classical baseline on the first setting's shards
    workers: int = 2  # processes of the builder, 0 or 1: this one alone


def main(command: Ablation) -> None:
    """Train what is not there yet, then print the table of all that was asked for."""
    labelled = labelled_cells(command.data)
    networks, measurer = list(planned(command, labelled.digest)), Measurer()
    files = [network.file for network in networks]
    for network in networks:
        if not network.file.is_file():
            _publish(network.file, run(command, labelled, network))
        if command.baseline and network.setting == command.settings[0]:
            files.append(network.baseline_file)
            if not network.baseline_file.is_file():
                make_shards(command, labelled, network)
                _publish(network.baseline_file, judge_baseline(network, measurer))
    show(read(files), (*command.settings, *([BASELINE] if command.baseline else [])))


def labelled_cells(data: Path) -> Dataset:
    """The cells of a folder whose labels are known."""
    dataset = read_dataset(data)
    return replace(dataset, cells=tuple(c for c in dataset.cells if c.label is not None), submissions=())


def planned(command: Ablation, data: str) -> Iterator[Network]:
    """Every network that the command asks for, by seed, fold and setting; raises ``UserError`` for what makes none."""
    refuse_workers(command.workers)
    held = command.held or tuple(range(1, command.folds + 1))
    if command.folds < 2 or not set(held) <= set(range(1, command.folds + 1)):
        raise UserError(f"--folds {command.folds} --held {held}: at least 2 folds, and of them those that are held out")
    for flag, values in (("settings", command.settings), ("seeds", command.seeds), ("held", held)):
        if not values or len(set(values)) < len(values):
            raise UserError(f"--{flag}: name at least one, and none twice")
    for seed in command.seeds:
        for fold in held:
            for setting in command.settings:
                lender = _network(command, data, command.initial, seed, fold) if command.initial else None
                yield short_enough(replace(_network(command, data, setting, seed, fold), lender=lender))


def _network(command: Ablation, data: str, setting: str, seed: int, fold: int) -> Network:
    recipe, config = configured(setting, command.arch, command.size, command.epochs, seed)
    return Network(setting, recipe, config, data, command.folds, fold, command.out)


def _publish(file: Path, found: pd.DataFrame) -> None:
    publish_text(file, found.to_csv(index=False))
    right = (found.logit > 0) == (found.label == 1)
    print(f"{file.name} unseen {right[found.unseen].mean():.3f} seen {right[~found.unseen].mean():.3f}", flush=True)


def run(command: Ablation, labelled: Dataset, network: Network) -> pd.DataFrame:
    """Train one network and judge it: a row a cell with its logit, and whether its person was seen in training."""
    manifest = make_shards(command, labelled, network)
    if network.lender is not None:
        lend(network.lender)
    began = time.perf_counter()
    train(network.training)
    minutes = (time.perf_counter() - began) / 60
    parts = [predict(network, manifest, split) for split in JUDGED]
    return described(pd.concat(parts), network, network.setting, minutes)


def lend(network: Network) -> None:
    """Write the last averaged weights of a finished network where the one that starts from them looks for them.

    Raises ``UserError`` for a checkpoint that is not there, or not of this network.
    """
    card, state = finished(network, load_manifest(network.shards))  # the card tells of the best epoch
    save_checkpoint(network.lent, replace(card, epoch=len(state["history"])), {"model": state["ema"]})


def described(table: pd.DataFrame, network: Network, setting: str, minutes: float) -> pd.DataFrame:
    """The rows with the columns that are the same in all of them."""
    held = {"seed": network.config.seed, "fold": network.fold, "folds": network.folds}
    return table.assign(setting=setting, **held, minutes=round(minutes, 2))


def make_shards(command: Ablation, labelled: Dataset, network: Network) -> Manifest:
    """Shards whose split "valid" is the fold of people never seen, and "seen" every tenth image of the others."""
    seed = network.config.seed
    choice = SplitChoice("identity", network.folds, network.fold, seed)
    people = lambda d: find_people(d, command.workers, command.out / "cache", False)  # noqa: E731
    split = split_dataset(labelled, choice, people)
    tenth = {c.source for c in split.cells if c.split == "train" and (int(c.scatter[:8], 16) + seed) % 10 == 0}
    if not tenth:
        raise UserError(f"--seeds {seed}: {labelled.name} is so small that no image of people seen is left to judge by")
    cells = tuple(replace(c, split="seen") if c.source in tenth else c for c in split.cells)
    return build(replace(split, cells=cells), network.recipe, network.shards, command.workers, force=False)[0]


def look_once(model: nn.Module, normalise: Normalise, _: Batches) -> Look:
    """uint8 images ``[N, H, W, 3]`` to logits ``[N, 2]``, once."""
    return lambda images: model(normalise(images).contiguous(memory_format=torch.channels_last)).float()


@torch.inference_mode()
def predict(
    network: Network, manifest: Manifest, split: str, weights: str = "ema", way: Way = look_once
) -> pd.DataFrame:
    """The logit (blast less normal) of every cell of a split, in bfloat16 as in training; by default once, averaged.

    Raises ``UserError`` for a checkpoint that is not of this network and these shards.
    """
    card, state = finished(network, manifest)
    model = build_resnet(card.arch, channels=card.channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    load_weights(model, state, network.checkpoint, weights)
    model.eval()
    normalise = Normalise.of(card)
    reader = open_labelled(network.shards, manifest, split)
    batches, logits = valid_batches(reader, 256, 0, False), []
    with torch.autocast("cpu", torch.bfloat16, enabled=network.config.amp):
        look = way(model, normalise, batches)
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=network.config.amp):
            found = look(batch.images)
        logits += (found[:, 1] - found[:, 0]).tolist()
    return rows(reader, manifest, logits)


def finished(network: Network, manifest: Manifest) -> tuple[ModelCard, dict[str, Any]]:
    """Card and state of its last checkpoint; raises ``UserError`` for one that is not of this network and shards."""
    card, state = load_checkpoint(network.checkpoint)
    refuse_other(network, manifest, card, len(state.get("history", ())), state.get("phase") is not None)
    return card, state


def refuse_other(network: Network, manifest: Manifest, card: ModelCard, epochs: int, inside: bool) -> None:
    """Raise ``UserError`` where a checkpoint is of other shards, of another training, or of one that is not finished.

    ``epochs`` are those that it has finished; ``inside``: it was written inside the next one.
    """
    asked = {"manifest": manifest.digest, "size": network.recipe.size, "arch": network.config.arch}
    there = {"manifest": card.manifest_digest, "size": card.recipe.size, "arch": card.arch}
    there |= YOUNGER | card.training
    other = [
        f"{k} {there.get(k)}, not {v}" for k, v in {**asked, **recipe_of(network.config)}.items() if there.get(k) != v
    ]
    whole = all_epochs(network.config)
    if not other and (inside or epochs != whole):
        other = [f"{epochs} of {whole} epochs done"]
    if other:
        raise UserError(f"{network.checkpoint}: not the network that was asked for: {'; '.join(other)}")


def judge_baseline(network: Network, measurer: Measurer) -> pd.DataFrame:
    """The classical baseline (``python -m train baseline``), trained and judged on the network's very shards."""
    manifest = load_manifest(network.shards)
    began = time.perf_counter()
    reader = open_labelled(network.shards, manifest, "train")
    model = HistGradientBoostingClassifier(random_state=network.config.seed)
    model.fit(measurer.measure(reader), reader.labels)
    readers = [open_labelled(network.shards, manifest, split) for split in JUDGED]
    parts = [rows(r, manifest, model.decision_function(measurer.measure(r))) for r in readers]
    return described(pd.concat(parts), network, BASELINE, (time.perf_counter() - began) / 60)


def rows(reader: SplitReader, manifest: Manifest, logits: Iterable[float]) -> pd.DataFrame:
    """A row a cell of a split, in its order."""
    identities = [manifest.identity(subject) for subject in reader.subjects]
    keys = [sample.key for sample in reader.samples]
    table = pd.DataFrame({"key": keys, "label": reader.labels, "logit": np.array([*logits]), "identity": identities})
    return table.assign(unseen=reader.what == "valid")


def cli() -> None:
    """Read the command line and run; a signal that stops a training ends it in one line, with the status of shells."""
    command = tyro.cli(Ablation, prog="python -m benchmarks.ablation", description=__doc__)
    try:
        main(command)
    except StoppedError as stopped:  # what it says of last.pt is of no use here: no training is resumed
        print("stopped: the same command goes on, with this network from its start", file=sys.stderr)
        raise SystemExit(stopped.status) from None


if __name__ == "__main__":
    run_command("benchmarks.ablation", "cli")
