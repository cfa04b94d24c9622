"""Scores of a report with the ids of one person joined: a given split knows subject ids, and some people have several.

    python -m benchmarks.joined_people --report artifacts/report --identities SHARDS/manifest.json

SHARDS are any shards of the same data that were split by identity. Intervals: 95 %, bootstrap, identities drawn anew;
the last column is the paired difference to the baseline.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import tyro
from numpy.typing import NDArray

from benchmarks.ablation_scores import read_table
from benchmarks.predictions_files import estimate, read_identities
from contract.bootstrap import Interval, weighted_ranks
from contract.command import run_command
from contract.errors import UserError

COLUMNS = {"ID", "key", "subject", "label", "verdict", "probability"}


@dataclass(frozen=True)
class JoinedPeople:
    """Print accuracy and AUROC of every network of a report, people drawn anew, and accuracy less the baseline's."""

    report: Path = Path("artifacts/report")  # folder with predictions_<split>_<name>.csv
    identities: Path = Path("shards/manifest.json")  # manifest of shards that were split by identity
    split: str = "valid"  # a labelled one


def main(command: JoinedPeople) -> None:
    joined = read_identities(command.identities)
    tables = read_tables(command)
    baseline = tables.get("baseline")
    print("| | n, people | accuracy (95 %) | AUROC (95 %) | accuracy less the baseline's |")
    print("| --- | --- | --- | --- | --- |")
    for name, table in tables.items():
        people = [joined.get(subject, subject) for subject in table.subject]
        right = (table.verdict == table.label).to_numpy(float)
        blast, probability = (table.label == 1).to_numpy(), table.probability.to_numpy()
        accuracy = estimate(people, partial(_mean, right))
        auroc = estimate(people, partial(_auroc, blast, probability))
        gain = ""
        if baseline is not None and name != "baseline":
            less: NDArray = right - (baseline.verdict == baseline.label).to_numpy(float)
            gain = stated(estimate(people, partial(_mean, less)), 100, "+.1f")
        counts = f"{len(table)}, {len(set(people))}"
        print(f"| {name} | {counts} | {stated(accuracy, 100, '.1f')} | {stated(auroc, 1, '.3f')} | {gain} |")


def _mean(values: NDArray, weights: NDArray) -> NDArray:
    return weights @ values / weights.sum(axis=1)


def _auroc(blast: NDArray, probability: NDArray, weights: NDArray) -> NDArray:
    return weighted_ranks(blast, probability, weights)[0]


def read_tables(command: JoinedPeople) -> dict[str, pd.DataFrame]:
    """Predictions by network, cells in one order; raises ``UserError`` where they cannot be scored."""
    start = f"predictions_{command.split}_"
    paths = sorted(command.report.glob(f"{start}*.csv"))
    if not paths:
        raise UserError(f"{command.report}: holds no {start}*.csv")
    tables = {path.stem.removeprefix(start): read_table(path) for path in paths}
    for path, table in zip(paths, tables.values(), strict=True):
        if not set(table.columns) >= COLUMNS or table.label.isna().any() or table.subject.isna().any():
            raise UserError(f"{path}: not predictions of a labelled split whose subjects are known")
    ordered = {name: table.sort_values("ID", ignore_index=True) for name, table in tables.items()}
    first = next(iter(ordered.values())).ID
    for path, table in zip(paths, ordered.values(), strict=True):
        if not table.ID.equals(first):
            raise UserError(f"{path}: not the cells of {paths[0].name}")
    return ordered


def stated(found: tuple[float, Interval | None], scale: float, digits: str) -> str:
    value, bounds = found
    interval = " to ".join(format(scale * bound, digits) for bound in bounds) if bounds else "undefined"
    return f"{scale * value:{digits}} ({interval})"


def cli() -> None:
    """Read the command line and run."""
    main(tyro.cli(JoinedPeople, prog="python -m benchmarks.joined_people", description=__doc__))


if __name__ == "__main__":
    run_command("benchmarks.joined_people", "cli")
