"""The table of an ablation: mean ± sd over its seeds, 95 % intervals over identities, differences to the first setting.

    python -m benchmarks.ablation_table --out artifacts/ablation --settings stain=none standardise=True baseline

It reads what benchmarks/ablation.py left and trains nothing. "standardise=True+baseline", or other settings with a plus
sign between them, is the mean of their probabilities. A seed has folds of its own: seeds differ in whom they learn
from, too. Intervals: identities are drawn anew, as in reports, the same ones for all seeds and, in differences, for
both settings. The worst of the drawn is never worse than the worst there is: its interval says how much hangs on a few
people.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray

from benchmarks.ablation_scores import LEAST, by_seed, drawn_anew, paired, people_of, read, together
from benchmarks.ablation_settings import BASELINE, NAME, OLD_FOLDS, TOGETHER, TREES, configured
from contract.bootstrap import RESAMPLES, percentile_interval
from contract.command import run_command
from contract.errors import UserError

HEAD = (
    *("setting", "seeds", "folds", "never seen: accuracy %", "weighted F1", "AUROC", "median identity %"),
    *("worst identity %", "seen: accuracy %", "AUROC", "min a network"),
)
UNSEEN = {"accuracy": "percent", "F1": "number", "AUROC": "number", "median": "percent", "worst": "percent"}
FEW = 3  # seeds, below which each value is printed too


@dataclass(frozen=True)
class Finished:
    """Print the table of finished networks; the first setting is what the others are compared with."""

    settings: tuple[str, ...]  # as benchmarks/ablation.py was given them; also "baseline"; "A+B": both together
    out: Path = Path("artifacts/ablation")  # folder of the CSVs
    arch: Literal["resnet18", "resnet50", "resnet152"] = "resnet18"  # where a setting names no other
    size: int = 64  # px, where a setting names no other
    epochs: int = 10  # where a setting names no other
    folds: int = 2  # of whole identities
    held: tuple[int, ...] = ()  # folds that were held out; default: all that are there
    seeds: tuple[int, ...] = ()  # default: all that are there


def main(command: Finished) -> None:
    """Find the files of every setting and print their table."""
    if not command.settings or len(set(command.settings)) < len(command.settings):
        raise UserError("--settings: name at least one, and none twice")
    members = {setting: setting.split(TOGETHER) for setting in command.settings}
    for setting, parts in members.items():
        if len(set(parts)) < len(parts):
            raise UserError(f"--settings {setting}: a setting comes twice")
    alone = dict.fromkeys(chain(*members.values()))
    tables = pd.concat([read(files_of(command, setting), setting) for setting in alone], ignore_index=True)
    joined = [together(tables, setting) for setting, parts in members.items() if len(parts) > 1]
    show(pd.concat([tables, *joined]), command.settings)


def files_of(command: Finished, setting: str) -> list[Path]:
    """The CSVs of a setting in the folder, old names for two folds included.

    Raises ``UserError`` where there is none, or where more than one definition of the setting made them.
    """
    arch, size, epochs = _network_of(command, setting)
    wanted = (setting, arch, size, epochs, command.folds)
    found: dict[str, list[Path]] = {}
    for file, named in _results(command.out):
        if _definition_of(named) == wanted and _asked(command, named):
            found.setdefault(named["definition"] or "an old name", []).append(file)
    if len(found) > 1:
        raise UserError(f"{command.out}: {setting} was run in {len(found)} definitions ({', '.join(found)}): keep one")
    if not found:
        there = sorted({named["setting"] for _, named in _results(command.out)})
        asked = f"{setting}, {arch}, {size} px, {epochs} epochs, {command.folds} folds"
        raise UserError(f"{command.out}: no results of {asked}; settings there: {'; '.join(there) or 'none'}")
    return next(iter(found.values()))


def _network_of(command: Finished, setting: str) -> tuple[str, int, int]:
    """Architecture, size and epochs in the names of its files; the baseline is of the first other setting's size."""
    others = [one for one in chain(*(s.split(TOGETHER) for s in command.settings)) if one != BASELINE]
    if setting == BASELINE and not others:
        return TREES, command.size, 0
    of = others[0] if setting == BASELINE else setting
    recipe, config = configured(of, command.arch, command.size, command.epochs)
    return (TREES, recipe.size, 0) if setting == BASELINE else (config.arch, recipe.size, config.epochs)


def _results(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    for file in sorted(folder.glob("*.csv")):
        if named := NAME.fullmatch(file.name):
            yield file, named.groupdict()


def _definition_of(named: dict[str, str]) -> tuple[str, str, int, int, int]:
    folds = int(named["folds"] or OLD_FOLDS)
    return named["setting"], named["arch"], int(named["size"]), int(named["epochs"]), folds


def _asked(command: Finished, named: dict[str, str]) -> bool:
    seed, fold = int(named["seed"]), int(named["fold"])
    return (not command.seeds or seed in command.seeds) and (not command.held or fold in command.held)


def show(tables: pd.DataFrame, settings: Sequence[str]) -> None:
    """Print the table and the differences as Markdown."""
    for line in lines(tables, settings):
        print(line)


def lines(tables: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """A row a setting, then a row a difference to the first one."""
    unseen = tables[tables.unseen]
    out = [
        f"Mean ± sd over seeds (and each, where they are fewer than {FEW}); [95 %: the {unseen.identity.nunique()} "
        f"identities drawn anew, {RESAMPLES} times]. Identities: of {LEAST} cells or more.",
        "",
        *_head(*HEAD),
    ]
    out += [_line(*_row(setting, tables[tables.setting == setting])) for setting in settings]
    if len(settings) > 1:
        head = (f"less {settings[0]}", "accuracy, points [95 %]", "AUROC [95 %]", "seeds", "folds", "cells, identities")
        out += ["", *_head(*head), *(_line(*_difference(unseen, settings[0], other)) for other in settings[1:])]
    return out


def _head(*cells: str) -> list[str]:
    return [_line(*cells), _line(*["---"] * len(cells))]


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _row(setting: str, mine: pd.DataFrame) -> list[str]:
    unseen, seen = mine[mine.unseen], mine[~mine.unseen]
    people, familiar = people_of(unseen), people_of(seen)
    once, drawn = (by_seed(unseen, people, w) for w in (np.ones((1, len(people))), drawn_anew(people)))
    cells = [f"{spread(once[s][:, 0], kind)} {interval(drawn[s], kind)}" for s, kind in UNSEEN.items()]
    known = by_seed(seen, familiar, np.ones((1, len(familiar))))
    cells += [spread(known[s][:, 0], UNSEEN[s]) for s in ("accuracy", "AUROC")]
    minutes = mine.groupby(["seed", "fold"]).minutes.first().mean()
    return [setting, str(mine.seed.nunique()), _folds(mine), *cells, f"{minutes:.1f}"]


def _folds(table: pd.DataFrame) -> str:
    """How many are held out of how many: "2 of 5"; seed by seed where they differ: "5, 4 of 5"."""
    held = table.groupby("seed").fold.nunique()
    counts = held.unique() if held.nunique() == 1 else held
    return f"{', '.join(map(str, counts))} of {'/'.join(map(str, sorted(table.folds.unique())))}"


def _difference(unseen: pd.DataFrame, first: str, second: str) -> list[str]:
    """The scores of ``second`` less those of ``first`` on the cells that both judged, people drawn alike for both."""
    a, b = paired(unseen, first, second)
    people = people_of(a)
    cells = []
    for score, scale, digits in (("accuracy", 100, 1), ("AUROC", 1, 3)):
        once, drawn = (
            scale * (by_seed(b, people, w)[score] - by_seed(a, people, w)[score]).mean(axis=0)
            for w in (np.ones((1, len(people))), drawn_anew(people))
        )
        bounds = percentile_interval(drawn)
        said = f"[{bounds[0]:+.{digits}f} to {bounds[1]:+.{digits}f}]" if bounds else "[undefined]"
        cells.append(f"{once[0]:+.{digits}f} {said}")
    return [second, *cells, str(a.seed.nunique()), _folds(a), f"{len(a):,}, {len(people)}"]


def spread(values: NDArray[np.float64], kind: str) -> str:
    """Mean ± standard deviation over seeds ``[S]``, and every seed's value where they are few."""
    digits, scale = (1, 100) if kind == "percent" else (3, 1)
    each = [f"{scale * value:.{digits}f}" for value in values]
    if len(values) == 1:
        return each[0]
    text = f"{scale * values.mean():.{digits}f} ± {scale * values.std(ddof=1):.{digits}f}"
    return f"{text} ({', '.join(each)})" if len(values) < FEW else text


def interval(values: NDArray[np.float64], kind: str) -> str:
    """The middle 95 % of the mean over seeds, of ``[S, B]`` draws of people."""
    digits, scale = (1, 100) if kind == "percent" else (3, 1)
    bounds = percentile_interval(values.mean(axis=0))
    return f"[{scale * bounds[0]:.{digits}f} to {scale * bounds[1]:.{digits}f}]" if bounds else "[undefined]"


def cli() -> None:
    """Read the command line and run."""
    main(tyro.cli(Finished, prog="python -m benchmarks.ablation_table", description=__doc__))


if __name__ == "__main__":
    run_command("benchmarks.ablation_table", "cli")
