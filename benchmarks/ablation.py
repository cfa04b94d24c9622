"""Does it help? One network a setting, fold and seed, judged on people never seen and on new images of people seen.

    python benchmarks/ablation.py --data FOLDER --settings stain=none stain=macenko stain=macenko,crop=box

The labelled cells (train and valid) are cut into folds of whole identities. A network is trained on the other folds
less every tenth image, for a fixed number of epochs; its last averaged weights are judged on the fold (people never
seen) and on those tenth images (people seen): one network, so that the difference is the price of knowing the people.
Nothing is chosen by either. A finished network is not trained again: the command goes on where it was stopped.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import tyro
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor, nn

sys.path[0] = str(Path(__file__).resolve().parents[1])

from build_shards.dataset import Dataset, read_dataset
from build_shards.shards import build
from build_shards.split import SplitChoice, find_people, split_dataset
from contract.errors import UserError
from contract.manifest import Manifest
from contract.publish import publish_text
from contract.recipe import Recipe
from train.checkpoint import load_checkpoint, load_weights
from train.config import Config
from train.data import Batches, open_labelled, valid_batches
from train.loop import train
from train.normalise import Normalise
from train.resnet import build_resnet

RESAMPLES = 2000  # of the bootstrap over identities
STAINS_AND_CROPS = tuple(f"stain={s},crop={c}" for c in ("native", "box") for s in ("none", "reinhard", "macenko"))
Look = Callable[[Tensor], Tensor]
Way = Callable[[nn.Module, Normalise, Batches], Look]  # how a network looks at images, from itself and those images
# A short training, exact augmentation only: what every setting is compared with, whatever the defaults have become.
BASE: dict[str, Any] = {
    "standardise": False,
    "batch_size": 64,
    "affine": 0.0,
    "blur": 0.0,
    "sharpen": 0.0,
    "start_size": 0,
    "ema_decay": 0.99,
    "warmup_epochs": 1.0,
}


@dataclass(frozen=True)
class Ablation:
    """Train a network for every setting, fold and seed, and print the table of what each setting brings."""

    data: Path  # folder of the dataset, with subjects
    settings: tuple[str, ...] = STAINS_AND_CROPS  # each FIELD=VALUE,FIELD=VALUE of a recipe or of a training
    out: Path = Path("artifacts/ablation")  # keeps predictions and table
    arch: Literal["resnet18", "resnet50", "resnet152"] = "resnet18"
    size: int = 64  # px
    epochs: int = 10
    folds: int = 2  # of whole identities; every identity is held out once a seed
    seeds: tuple[int, ...] = (0, 1)  # of folds, weights and augmentation
    workers: int = 2  # processes of the builder


def main(command: Ablation) -> None:
    dataset = read_dataset(command.data)
    for seed in command.seeds:
        for fold in range(1, command.folds + 1):
            for setting in command.settings:
                file = command.out / f"{setting}-{command.arch}-{command.size}px-e{command.epochs}-s{seed}-f{fold}.csv"
                if not file.is_file():
                    found = run(command, dataset, setting, seed, fold)
                    publish_text(file, found.to_csv(index=False))
                    print(file.name, *(f"{k} {v:.3f}" for k, v in accuracies(found).items()), flush=True)
    show(read(command))


def run(command: Ablation, dataset: Dataset, setting: str, seed: int, fold: int) -> pd.DataFrame:
    """Train one network and judge it: a row a cell with its logit, and whether its person was seen in training."""
    recipe = Recipe(size=command.size, **chosen(setting, Recipe))
    folder = shards_folder(command, recipe, seed, fold)
    manifest = make_shards(command, dataset, recipe, seed, fold, folder)
    began = time.perf_counter()
    config, checkpoint = training(command, setting, seed, fold, folder)
    train(config)
    minutes = (time.perf_counter() - began) / 60
    parts = [predict(config, manifest, checkpoint, split) for split in ("valid", "seen")]
    return pd.concat(parts).assign(setting=setting, seed=seed, fold=fold, minutes=round(minutes, 2))


def training(command: Ablation, setting: str, seed: int, fold: int, shards: Path) -> tuple[Config, Path]:
    """The configuration of one training, and the checkpoint that it leaves."""
    config = Config(
        arch=command.arch,
        shards=shards,
        artifacts=command.out / "runs" / f"{setting}-s{seed}-f{fold}",
        epochs=command.epochs,
        seed=seed,
        force=True,
        **{**BASE, **chosen(setting, Config)},
    )
    return config, config.artifacts / config.arch / "last.pt"


def shards_folder(command: Ablation, recipe: Recipe, seed: int, fold: int) -> Path:
    name = f"{recipe.stain}-{recipe.crop}-{recipe.window}-{recipe.size}-s{seed}-f{fold}"
    return command.out / "shards" / name


def make_shards(command: Ablation, dataset: Dataset, recipe: Recipe, seed: int, fold: int, folder: Path) -> Manifest:
    """Shards whose split "valid" is the fold of people never seen, and "seen" every tenth image of the others."""
    choice = SplitChoice("identity", command.folds, fold, seed)
    labelled = replace(dataset, cells=tuple(c for c in dataset.cells if c.label is not None), submissions=())
    people = lambda d: find_people(d, command.workers, command.out / "cache", False)  # noqa: E731
    split = split_dataset(labelled, choice, people)
    tenth = {c.source for c in split.cells if c.split == "train" and (int(c.scatter[:8], 16) + seed) % 10 == 0}
    cells = tuple(replace(c, split="seen") if c.source in tenth else c for c in split.cells)
    return build(replace(split, cells=cells), recipe, folder, command.workers, False)[0]


def look_once(model: nn.Module, normalise: Normalise, _: Batches) -> Look:
    """uint8 images ``[N, H, W, 3]`` to logits ``[N, 2]``, once."""
    return lambda images: model(normalise(images).contiguous(memory_format=torch.channels_last)).float()


@torch.inference_mode()
def predict(
    config: Config, manifest: Manifest, checkpoint: Path, split: str, weights: str = "ema", way: Way = look_once
) -> pd.DataFrame:
    """The logit (blast less normal) of every cell of a split, in bfloat16 as in training; by default once, averaged."""
    card, state = load_checkpoint(checkpoint)
    model = build_resnet(card.arch).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    load_weights(model, state, checkpoint, weights)
    model.eval()
    normalise = Normalise(card.mean, card.std, config.standardise)
    reader, rows = open_labelled(config.shards, manifest, split), []
    batches = valid_batches(reader, 256, 0, False)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.amp):
        look = way(model, normalise, batches)
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=config.amp):
            logits = look(batch.images)
        rows += zip(batch.keys, batch.labels.tolist(), (logits[:, 1] - logits[:, 0]).tolist(), strict=True)
    subjects = {reader.samples[i].key: str(reader.info(i)["subject"]) for i in range(len(reader))}
    table = pd.DataFrame(rows, columns=["key", "label", "logit"])
    table["identity"] = [manifest.identities.get(subjects[key], subjects[key]) for key in table.key]
    return table.assign(unseen=split == "valid")


def chosen(setting: str, kind: type) -> dict[str, Any]:
    """The fields of ``kind`` in "stain=macenko,blur=0.2"; raises ``UserError`` for an unknown one."""
    found: dict[str, Any] = {}
    for part in setting.split(","):
        name, _, value = part.partition("=")
        if name not in names(Recipe) | names(Config):
            raise UserError(f"--settings {setting}: no field {name!r} of a recipe or a training")
        default = {**vars(Recipe()), **vars(Config())}[name]
        found[name] = value == "True" if isinstance(default, bool) else type(default)(value)
    return {name: value for name, value in found.items() if name in names(kind)}


def names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def accuracies(table: pd.DataFrame) -> dict[str, float]:
    right = (table.logit > 0) == (table.label == 1)
    return {"unseen": float(right[table.unseen].mean()), "seen": float(right[~table.unseen].mean())}


def read(command: Ablation) -> pd.DataFrame:
    """All predictions of the command's settings and seeds that are there."""
    files = sorted(command.out.glob(f"*-{command.arch}-{command.size}px-e{command.epochs}-s*-f*.csv"))
    tables = pd.concat([pd.read_csv(file, dtype={"identity": str}) for file in files], ignore_index=True)
    found = tables[tables.setting.isin(command.settings) & tables.seed.isin(command.seeds)]
    return found.sort_values("setting", key=lambda column: column.map(command.settings.index), kind="stable")


def show(tables: pd.DataFrame) -> None:
    """Print a row a setting: mean and range over the seeds, each pooled over the folds; differences by bootstrap."""
    title = f"{tables.seed.nunique()} seeds, {tables.fold.nunique()} folds of {tables.identity.nunique()} identities"
    table = Table(title=title, box=MARKDOWN)
    columns = (
        "setting",
        "unseen: accuracy",
        "weighted F1",
        "AUROC",
        "worst identity",
        "seen: accuracy",
        "AUROC",
        "min",
    )
    for column in columns:
        table.add_column(column, no_wrap=True)
    for setting in dict.fromkeys(tables.setting):
        mine = tables[tables.setting == setting]
        unseen, seen = [
            [scores(t) for _, t in part.groupby("seed")] for part in (mine[mine.unseen], mine[~mine.unseen])
        ]
        cells = [spread(unseen, i) for i in range(4)] + [spread(seen, 0), spread(seen, 2)]
        table.add_row(setting, *cells, f"{mine.minutes.groupby([mine.seed, mine.fold]).first().mean():.1f}")
    Console(width=200).print(table)
    first = tables.setting.iloc[0]
    for setting in dict.fromkeys(tables.setting[tables.setting != first]):
        print(f"{setting} less {first}: {difference(tables, first, setting)}")


def scores(table: pd.DataFrame) -> tuple[float, float, float, float]:
    """Accuracy, weighted F1 and AUROC of pooled predictions, and the accuracy of the worst identity of 20 cells."""
    found, label = table.logit > 0, table.label == 1
    people = (found == label).groupby(table.identity).agg(["mean", "size"])
    auroc = float(np.mean([roc_auc_score(t.label, t.logit) for _, t in table.groupby("fold")]))
    f1 = float(f1_score(label, found, average="weighted"))
    return float((found == label).mean()), f1, auroc, float(people["mean"][people["size"] >= 20].min())


def spread(rows: list[tuple[float, float, float, float]], column: int) -> str:
    values = np.array([row[column] for row in rows])
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def difference(tables: pd.DataFrame, first: str, second: str) -> str:
    """Accuracy on people never seen, second less first, with a 95 % interval over identities."""
    unseen = tables[tables.unseen].assign(right=(tables.logit > 0) == (tables.label == 1))
    a, b = (unseen[unseen.setting == s].set_index(["seed", "key"]).right.astype(float) for s in (first, second))
    identity = unseen[unseen.setting == first].set_index(["seed", "key"]).identity
    gain = (b - a).dropna().groupby(identity).agg(["sum", "size"]).to_numpy()
    drawn = np.random.default_rng(0).multinomial(len(gain), [1 / len(gain)] * len(gain), size=RESAMPLES) @ gain
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return f"{100 * gain[:, 0].sum() / gain[:, 1].sum():+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


if __name__ == "__main__":
    try:
        main(tyro.cli(Ablation, prog="python benchmarks/ablation.py"))
    except UserError as error:
        sys.exit(f"error: {error}")
