"""The command line of this room: one frozen dataclass a sub-command."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from build_shards.audit import audit
from build_shards.dataset import Dataset, read_dataset
from build_shards.pool import refuse_workers
from build_shards.shards import build
from build_shards.split import SplitChoice, describe, find_people, split_dataset
from build_shards.synthetic import write_synthetic
from build_shards.verify import verify, verify_sources
from contract.counted import counted
from contract.errors import UserError
from contract.manifest import Manifest
from contract.recipe import Recipe


@dataclass(frozen=True)
class Build:
    """Build shards from a folder of cells: preprocess every image, write WebDataset tars and manifest.json.

    The folder holds either the course's CSVs (train.csv, valid.csv, resnet_18_test.csv, ...) or the archive's
    fold_*/{all,hem}/UID_*.bmp. A finished build of the same files and recipe is recognised (every file is read and
    hashed again) and left as it is.
    """

    data: Path  # folder of the dataset
    shards: Path = Path("shards")  # folder to write
    name: str = ""  # the dataset's name in figures and cards; default: that of dataset.json, else the folder's
    # stain normalisation, fitted on the training split
    stain: Literal["none", "reinhard", "macenko", "vahadane"] = Recipe.stain
    size: int = Recipe.size  # side of a stored image in pixels
    crop: Literal["native", "box", "none"] = Recipe.crop  # native: one scale for all cells; box: bounding box, resized
    window: int = Recipe.window  # side of the native crop in source pixels
    format: Literal["png", "jpg", "npy"] = Recipe.format  # of a stored image: png and npy lossless, jpg smallest
    quality: int | None = Recipe.quality  # of jpg, 1 to 100: --format jpg needs it
    # who is held out: people (identity: ids of one person joined by their cells, subject: by id alone), single images
    # (leaks people), or as train.csv and valid.csv say (given); auto: identity where subjects are known, else given
    split: Literal["auto", "identity", "subject", "image", "given"] = "auto"
    folds: int = 0  # cut into so many folds, of which --fold is valid and the others are train; 0: no folds
    fold: int = 0  # the fold that is held out: 1 to --folds
    seed: int = 0  # of the split
    cache: Path = Path("artifacts/cache")  # keeps the search for people, for the next build of the same images
    workers: int = os.cpu_count() or 1  # processes, 0 or 1: this one alone; the bytes do not depend on it
    shards_multiple_of: int = 1  # the number of shards of every split divides by this (ranks times workers)
    skip_bad: bool = False  # leave out cells that cannot be read, list them in skipped.csv, count them in the manifest
    force: bool = False  # replace another build in the same folder


@dataclass(frozen=True)
class Verify:
    """Check shards against their manifest: hashes, counts, members, images, keys. Exit status 1 when one is bad.

    With --data also against the dataset: every file that the shards were made of must be there, the same to the byte.
    """

    shards: Annotated[Path, tyro.conf.Positional] = Path("shards")  # folder of the shards
    data: Path | None = None  # folder of the dataset that they were made of
    workers: int = os.cpu_count() or 1  # threads that read the dataset, 0 or 1: one


@dataclass(frozen=True)
class Audit:
    """Look for what makes a split untrustworthy, before anything is trained on it.

    Identical files and near-identical cells within and across splits, subjects across splits, people under two ids,
    class balance, outliers of size and stain: a table, audit.json, twins.csv, and a picture of telling pairs.
    """

    data: Path  # folder of the dataset
    out: Path = Path("artifacts/audit")  # folder to write
    workers: int = os.cpu_count() or 1  # processes, 0 or 1: this one alone; the result does not depend on it
    cache: Path = Path("artifacts/cache")  # keeps the search for twins, for the next build of the same images


@dataclass(frozen=True)
class Preview:
    """Draw what a recipe does: cells raw, normalised and cropped, and the distribution of stain before and after."""

    data: Path  # folder of the dataset
    out: Path = Path("artifacts/preview.png")  # picture to write
    stain: Literal["none", "reinhard", "macenko", "vahadane"] = Recipe.stain  # stain normalisation
    size: int = Recipe.size  # side of a stored image in pixels
    crop: Literal["native", "box", "none"] = Recipe.crop  # native: one scale for all cells; box: bounding box, resized
    window: int = Recipe.window  # side of the native crop in source pixels


@dataclass(frozen=True)
class Synthetic:
    """Draw a small synthetic dataset of cells in the course layout (for trying everything without a download)."""

    data: Path  # folder to write
    cells: int = 320  # number of cells, over all splits
    seed: int = 0  # of the drawing


Command = (
    Annotated[Build, tyro.conf.subcommand("build")]
    | Annotated[Audit, tyro.conf.subcommand("audit")]
    | Annotated[Preview, tyro.conf.subcommand("preview")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Synthetic, tyro.conf.subcommand("synthetic")]
)


def main() -> None:
    """Read the command line and run the sub-command."""
    command: Build | Audit | Preview | Verify | Synthetic = tyro.cli(
        Command, prog="python -m build_shards", description="BMPs and CSVs -> WebDataset shards."
    )
    refuse_workers(getattr(command, "workers", 1))
    match command:
        case Build():
            _build(command)
        case Audit():
            _audit(command)
        case Preview():
            _preview(command)
        case Verify():
            _verify(command)
        case Synthetic():
            write_synthetic(command.data, command.cells, command.seed)
            print(f"{command.cells} synthetic cells in {command.data}")


def _preview(command: Preview) -> None:
    from build_shards.preview import preview  # here: a build has no use for matplotlib

    if command.out.suffix.lower() != ".png" or command.out.is_dir():
        raise UserError(f"--out {command.out}: must be a file, called .png: that is what is drawn")
    recipe = Recipe(stain=command.stain, crop=command.crop, window=command.window, size=command.size)
    preview(read_dataset(command.data), recipe, command.out)
    print(command.out)


def _audit(command: Audit) -> None:
    from build_shards.audit_report import print_audit, write_audit  # here: a build has no use for matplotlib

    dataset = read_dataset(command.data)
    result = audit(dataset, command.workers, command.cache)
    write_audit(result, dataset, command.out)
    print_audit(result)
    print("\n".join(str(command.out / name) for name in ("audit.json", "twins.csv", "twins.png")))


def _verify(command: Verify) -> None:
    dataset = read_dataset(command.data) if command.data else None
    try:
        manifest = verify(command.shards)
        if dataset is not None:
            verify_sources(command.shards, manifest, dataset, command.workers)
    except UserError as error:
        print(f"bad: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    samples = sum(shard.samples for shard in manifest.shards)
    sources = f", made of the files in {command.data}" if command.data else ""
    print(f"{command.shards}: {len(manifest.shards)} shards, {samples} samples, all as listed{sources}")


def _build(command: Build) -> None:
    if command.shards_multiple_of < 1:
        raise UserError(f"--shards-multiple-of {command.shards_multiple_of}: must be 1 or more")
    recipe = Recipe(
        stain=command.stain,
        crop=command.crop,
        window=command.window,
        size=command.size,
        format=command.format,
        quality=command.quality,
    )
    dataset = _read_split(command)
    manifest, built = build(
        dataset,
        recipe,
        command.shards,
        command.workers,
        force=command.force,
        multiple_of=command.shards_multiple_of,
        skip_bad=command.skip_bad,
    )
    print(_summary(manifest, command.shards, built))


def _read_split(command: Build) -> Dataset:
    """The dataset, split as the command says; what that did is printed in one line."""
    choice = SplitChoice(command.split, command.folds, command.fold, command.seed)
    read = read_dataset(command.data)
    if command.name:
        read = replace(read, name=command.name)
    dataset = split_dataset(
        read, choice, lambda data: find_people(data, command.workers, command.cache, command.skip_bad)
    )
    if dataset.split_by != "given":
        print(describe(read, dataset))
    return dataset


def _summary(manifest: Manifest, folder: Path, built: bool) -> str:
    lines = [f"{manifest.dataset}: {'built' if built else 'already built'} in {folder}"]
    for split in manifest.splits:
        counts = [sum(s.class_counts[label] for s in manifest.shards if s.split == split.name) for label in (0, 1)]
        classes = f"{counts[0]} normal, {counts[1]} blast" if split.labelled else "labels unknown"
        people = ""
        if split.subjects and split.name != "train":
            people = f", {counted(split.subjects, 'subject')} ({split.shared_subjects} also in train)"
        lines.append(f"  {split.name}: {counted(split.samples, 'cell')} ({classes}){people}")
    if manifest.skipped:
        lines.append(f"  {counted(manifest.skipped, 'faulty cell')} left out: see {folder / 'skipped.csv'}")
    if manifest.unnormalised:
        cells = counted(len(manifest.unnormalised), "cell")
        lines.append(f"  {cells} with colours unchanged: the stain cannot be told")
    if manifest.shrunk:
        cells = counted(manifest.shrunk, "cell")
        lines.append(f"  {cells} larger than the {manifest.recipe.window} px window, shrunk to fit")
    return "\n".join(lines)
