"""What a network said of every cell of a split, as ``predictions_<split>_<name>.csv``.

A report's numbers and pictures are made from these columns alone, so the page can be made again from the files.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from contract.bootstrap import people_of
from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader

COLUMNS = (
    "ID",
    "key",
    "subject",
    "identity",
    "label",
    "logit_normal",
    "logit_blast",
    "uncalibrated",
    "probability",
    "verdict",
)


@dataclass(frozen=True)
class Cells:
    """The cells of a split, in the order of its shards; ``None`` where something is unknown."""

    ids: tuple[str, ...]  # source paths, or as a test CSV spells them
    keys: tuple[str, ...]
    subjects: tuple[str | None, ...]
    identities: tuple[str | None, ...]  # the person, where it is known that several subject ids are one
    labels: tuple[int | None, ...]

    @property
    def people(self) -> list[str] | None:
        """The person of each cell: identity, else subject, else the cell alone; ``None`` where no subject is known."""
        return people_of(self.subjects, self.identities, self.keys)

    def at(self, positions: Sequence[int]) -> "Cells":
        """The cells at these positions, in their order."""
        return Cells(**{f.name: tuple(getattr(self, f.name)[i] for i in positions) for f in fields(Cells)})


@dataclass(frozen=True)
class Predictions:
    """What one network, or the ensemble, says of ``N`` cells."""

    cells: Cells
    logits: NDArray[np.float32] | None  # [N, 2], before temperature; None for the ensemble
    uncalibrated: NDArray[np.float32]  # [N], probability of a blast at temperature 1
    probability: NDArray[np.float32]  # [N], calibrated
    verdicts: NDArray[np.int64]  # [N]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The true labels, int64 ``[N]``; raises ``ValueError`` where one is unknown."""
        if None in self.cells.labels:
            raise ValueError("a split without labels cannot be scored")
        return np.array(self.cells.labels, np.int64)

    def in_order(self, ids: Sequence[str]) -> "Predictions":
        """The cells that ``ids`` ask for, in their order and with their spelling; all of them must be there."""
        place = {plain(i): position for position, i in enumerate(self.cells.ids)}
        chosen = [place[plain(i)] for i in ids]
        return Predictions(
            cells=replace(self.cells.at(chosen), ids=tuple(ids)),
            logits=None if self.logits is None else self.logits[chosen],
            uncalibrated=self.uncalibrated[chosen],
            probability=self.probability[chosen],
            verdicts=self.verdicts[chosen],
        )

    def to_csv(self) -> str:
        """One row a cell under ``COLUMNS``; floats with the digits that single precision needs to come back exactly."""
        cells, rows = self.cells, []
        named = zip(cells.ids, cells.keys, cells.subjects, cells.identities, cells.labels, strict=True)
        for i, known in enumerate(named):  # csv writes None as nothing
            logits = ("", "") if self.logits is None else map(str, self.logits[i])
            rows.append((*known, *logits, str(self.uncalibrated[i]), str(self.probability[i]), int(self.verdicts[i])))
        return csv_text(COLUMNS, rows)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV of these rows, lines ended by a line feed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def plain(i: str) -> str:
    """An ID without "./" and doubled slashes: two boards may spell one image's path in two ways."""
    return str(PurePosixPath(i))


def read_cells(reader: SplitReader, manifest: Manifest) -> Cells:
    """The cells of a split as its shards describe them; raises ``UserError`` for one without a source path."""
    infos = [reader.info(i) for i in range(len(reader))]
    for sample, info in zip(reader.samples, infos, strict=True):
        if not isinstance(info.get("source"), str):
            raise UserError(f"{sample.shard}: {sample.key}.json names no source")
    subjects = tuple(info.get("subject") or None for info in infos)
    return Cells(
        ids=tuple(info["source"] for info in infos),
        keys=tuple(sample.key for sample in reader.samples),
        subjects=subjects,
        identities=tuple(manifest.identities.get(s) if s else None for s in subjects),
        labels=tuple(sample.label for sample in reader.samples),
    )


def blast_probability(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """P(blast) from logits ``[N, 2]``: the logistic function of their difference over ``temperature``."""
    gap = (logits[:, 1].astype(np.float64) - logits[:, 0]) / temperature
    return (0.5 * (1 + np.tanh(gap / 2))).astype(np.float32)  # no overflow at either end


def decide(probability: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """The verdicts, int64 ``[N]``: 1 where a probability reaches the threshold, both in single precision."""
    return (probability >= np.float32(threshold)).astype(np.int64)


def read_predictions(path: Path) -> Predictions:
    """Read a CSV of ``to_csv`` back; raises ``UserError`` for a file that is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file, strict=True)
        if tuple(header) != COLUMNS or not rows:
            raise ValueError("other columns, or no row")
        return _predictions(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: make the report first (python evaluate/run.py)") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not predictions of a report: {error}") from None


def _predictions(column: dict[str, tuple[str, ...]]) -> Predictions:
    cells = Cells(
        ids=column["ID"],
        keys=column["key"],
        subjects=tuple(s or None for s in column["subject"]),
        identities=tuple(s or None for s in column["identity"]),
        labels=tuple(int(s) if s else None for s in column["label"]),
    )
    if not {*column["label"]} <= {"", "0", "1"} or not {*column["verdict"]} <= {"0", "1"}:
        raise ValueError("a label or a verdict is neither 0 nor 1")
    if len({*cells.keys}) < len(cells.keys):
        raise ValueError("a key stands there twice")
    for name in ("uncalibrated", "probability"):
        if not all(0 <= float(value) <= 1 for value in column[name]):  # NaN is not
            raise ValueError(f"a value of the column {name} is not between 0 and 1")
    return Predictions(
        cells=cells,
        logits=_logits(column["logit_normal"], column["logit_blast"]),
        uncalibrated=np.array(column["uncalibrated"], np.float32),
        probability=np.array(column["probability"], np.float32),
        verdicts=np.array(column["verdict"], np.int64),
    )


def _logits(normal: tuple[str, ...], blast: tuple[str, ...]) -> NDArray[np.float32] | None:
    """Logits ``[N, 2]``; None where the columns are empty, as those of an ensemble are."""
    if not any(normal):
        return None
    logits = np.array(list(zip(normal, blast, strict=True)), np.float32)
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")
    return logits
