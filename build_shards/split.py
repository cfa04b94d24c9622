"""Who trains and who is held out: the kind of split that is asked for, or that fits the data, and the split itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from build_shards.archive import SHARES
from build_shards.dataset import Cell, Dataset
from build_shards.deal import deal_cells
from build_shards.people import find_links, join, name_people
from build_shards.twin_search import in_order, search_twins
from contract.errors import UserError
from contract.record import check_choices
from contract.seed import check_seed

SplitBy = Literal["identity", "subject", "image", "given"]
FindPeople = Callable[[Dataset], Mapping[str, str]]


@dataclass(frozen=True)
class SplitChoice:
    """What is asked for; "auto": by identity where subjects are known, else as given."""

    by: Literal["auto", "identity", "subject", "image", "given"] = "auto"
    folds: int = 0  # 0: train and valid (in the archive layout test, too); else folds of all of them
    fold: int = 0  # 1 to ``folds``: becomes valid
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        check_seed(self.seed)


def find_people(dataset: Dataset, workers: int, cache: Path | None, skip_bad: bool) -> dict[str, str]:
    """The identity of every subject id that shares a person with another: what tables state and what twins show.

    Raises ``UserError`` for an image that cannot be read, unless ``skip_bad``.
    """
    search = search_twins(dataset.cells, workers, cache, skip_bad)
    links = find_links(in_order(dataset.cells), search.matches, search.chance, dataset.stated)
    return name_people(join(links))


def split_dataset(dataset: Dataset, choice: SplitChoice, people: FindPeople) -> Dataset:
    """Split the cells of ``dataset`` (as it was read) anew; splits that are test sets of their own stay as they are.

    Cells of one identity, as ``people`` finds them, or of one subject id fall into one part. Parts are balanced in
    cells and classes. Raises ``UserError`` for a choice that cannot be honoured.
    """
    by = _kind(dataset, choice)
    if by == "given":
        return dataset
    identities: dict[str, str] = {}
    if by == "identity":
        names = people(dataset)
        ids = sorted({cell.subject for cell in dataset.cells if cell.subject is not None})
        identities = {subject: names.get(subject, subject) for subject in ids}
    pool = [cell for cell in dataset.cells if _moves(dataset, cell)]
    groups = {cell.source: _group(cell, by, identities) for cell in pool}
    shares = _shares(dataset, pool, choice)
    _refuse_few(dataset.name, pool, groups, len(shares), choice, by)
    part_of = deal_cells(list(groups.values()), [c.label for c in pool], list(shares.values()), choice.seed)
    names_of_parts = list(shares)
    placed = [replace(cell, split=names_of_parts[part_of[groups[cell.source]]]) for cell in pool]
    if choice.folds:
        placed = [replace(c, split="valid" if c.split == str(choice.fold) else "train") for c in placed]
    placed.sort(key=lambda cell: (list(SHARES).index(cell.split), cell.source))
    rest = [cell for cell in dataset.cells if not _moves(dataset, cell)]
    cells = (*placed, *rest)
    return replace(dataset, split_by=by, cells=cells, folds=choice.folds, fold=choice.fold, identities=identities)


def describe(before: Dataset, after: Dataset) -> str:
    """One line that says what was split how; empty where the data's own split was kept."""
    if after.split_by == "given":
        return ""
    was = {cell.source: cell.split for cell in before.cells}
    pool = [cell for cell in after.cells if _moves(before, cell)]
    held = f"fold {after.fold} of {after.folds} is valid; " if after.folds else ""
    sides = "; ".join(_side(after, pool, split) for split in dict.fromkeys(cell.split for cell in pool))
    line = f"NOTE: split by {after.split_by}: {held}{sides}"
    if after.layout == "course":
        moved = sum(was[cell.source] != cell.split for cell in pool)
        line += (
            f". {moved:,} of {len(pool):,} cells moved between train and valid: --split given keeps train.csv and "
            "valid.csv as the course made them (needed to compare with its boards)"
        )
    if after.split_by == "image":
        line = f"{line}. Warning: cells of one subject are on several sides: accuracy will look too good"
    return line + _strangers(after, pool)


def _side(dataset: Dataset, pool: Sequence[Cell], split: str) -> str:
    cells = [cell for cell in pool if cell.split == split]
    ids = {cell.subject for cell in cells} - {None}
    if dataset.split_by == "identity":
        people = {dataset.identities[str(subject)] for subject in ids}
        return f"{split} {len(cells):,} cells of {len(people)} identities ({len(ids)} ids)"
    return f"{split} {len(cells):,} cells of {len(ids)} ids" if ids else f"{split} {len(cells):,} cells"


def _strangers(dataset: Dataset, pool: Sequence[Cell]) -> str:
    """Other splits whose people are among those who train: they stay, and it is said."""
    train = {dataset.identities.get(str(c.subject)) for c in pool if c.split == "train"} - {None}
    found = []
    for split in dict.fromkeys(cell.split for cell in dataset.cells if cell.split not in SHARES):
        shared = {dataset.identities.get(str(c.subject)) for c in dataset.cells if c.split == split} & train
        found += [f". {len(shared)} identities of {split} are in train too"] if shared else []
    return "".join(found)


def _kind(dataset: Dataset, choice: SplitChoice) -> SplitBy:
    """The kind of split, when the data can be split so; a choice that they cannot honour is refused."""
    _refuse_fold(choice)
    pool = [cell for cell in dataset.cells if _moves(dataset, cell)]
    unknown = [cell.source for cell in pool if cell.subject is None]
    by: SplitBy = choice.by if choice.by != "auto" else "given" if len(unknown) == len(pool) else "identity"
    if by == "given" and dataset.layout == "archive":
        raise UserError("--split given: the archive layout brings no split: choose identity, subject or image")
    if by == "given" and choice.folds:
        why = "" if choice.by == "given" else " (there is no subjects.csv, so the split is as given)"
        raise UserError(f"--folds {choice.folds}: a given split has no folds{why}: choose another --split")
    if by in ("identity", "subject") and unknown:
        raise UserError(
            f"--split {by}: the subject of {len(unknown)} cells of train and valid is unknown, first {unknown[0]!r}: "
            "complete subjects.csv (Path,subject), or choose --split given"
        )
    return by


def _refuse_fold(choice: SplitChoice) -> None:
    if choice.folds < 0 or choice.folds == 1:
        raise UserError(f"--folds {choice.folds}: must be 2 or more (or 0 for none)")
    if choice.folds and not 1 <= choice.fold <= choice.folds:
        raise UserError(f"--fold {choice.fold}: must be 1 to {choice.folds}, the fold that is held out")
    if choice.fold and not choice.folds:
        raise UserError(f"--fold {choice.fold}: of how many? give --folds as well")


def _moves(dataset: Dataset, cell: Cell) -> bool:
    """Whether a cell may change its split: not where its split is a test set of its own."""
    return cell.split in SHARES if dataset.layout == "archive" else cell.split in ("train", "valid")


def _group(cell: Cell, by: SplitBy, identities: Mapping[str, str]) -> str:
    subject = str(cell.subject)
    return {"identity": identities.get(subject, subject), "subject": subject}.get(by, cell.source)


def _shares(dataset: Dataset, pool: Sequence[Cell], choice: SplitChoice) -> dict[str, float]:
    """The parts by name, and their shares of the cells."""
    if choice.folds:
        return {str(fold): 1 / choice.folds for fold in range(1, choice.folds + 1)}
    if dataset.layout == "archive":
        return dict(SHARES)
    return {split: sum(c.split == split for c in pool) / len(pool) for split in ("train", "valid")}


def _refuse_few(
    name: str, pool: Sequence[Cell], groups: Mapping[str, str], parts: int, choice: SplitChoice, by: SplitBy
) -> None:
    """Every part needs cells of both classes: from people of its own, unless single images are dealt."""
    asked = f"--folds {choice.folds}" if choice.folds else f"--split {choice.by}"
    for label, what in enumerate(("normal cells", "blasts")):
        people = sorted({groups[cell.source] for cell in pool if cell.label == label})
        if len(people) < parts:
            found = f"the {what} of {name} come from {len(people)} people ({', '.join(people) or 'none'})"
            found = f"{name} has {len(people)} {what}" if by == "image" else found
            raise UserError(
                f"{asked}: {found}, and {parts} parts need {parts}: "
                f"choose {'fewer folds or ' if choice.folds else ''}another --split"
            )
