"""The price of leakage: accuracy on new images of people seen in training, beside people never seen.

    python -m benchmarks.leakage --both "resnet18=artifacts/ablation/SETTING-resnet18-*.csv" \\
      --seen baseline=artifacts/baseline/predictions_valid.csv --unseen baseline=folds/baseline/predictions_valid.csv

Each of NAME=FILES is predictions_valid.csv of a report or of the baseline, or CSVs of benchmarks/ablation.py (--both
takes its two sides from their column ``unseen``), all of one setting, size and number of epochs. Intervals: 95 %,
bootstrap, people drawn anew. A report of a given split knows subject ids alone: --identities SHARDS/manifest.json, of
any shards of the same data that were split by identity, says which of them are one person.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure

from benchmarks.predictions_files import accuracy, price, read_files, read_identities
from contract.command import run_command
from contract.errors import UserError
from contract.publish import publish_bytes
from evaluate.rendering import BLUE, DPI, MUTED, ORANGE, STYLE, png_bytes

SIDES = {"seen": (BLUE, "o", "people seen in training"), "unseen": (ORANGE, "s", "people never seen")}
Tables = dict[str, dict[str, pd.DataFrame]]  # verdicts by name, by side


@dataclass(frozen=True)
class Leakage:
    """Draw and print accuracy on people seen and on people never seen, a row a network."""

    both: tuple[str, ...] = ()  # NAME=FILES of ablations, which know both sides
    seen: tuple[str, ...] = ()  # NAME=FILES scored on people who are in train too
    unseen: tuple[str, ...] = ()  # NAME=FILES scored on people who are not
    out: Path = Path("docs/results/leakage.png")  # picture to write
    identities: Path | None = None  # manifest of shards that were split by identity: joins the ids of one person


def main(command: Leakage) -> None:
    tables = read_rows(command)
    publish_bytes(command.out, png_bytes(draw(tables)))
    for line in lines(tables):
        print(line)
    print(command.out)


def read_rows(command: Leakage) -> Tables:
    """Both sides of every name, as they were named; raises ``UserError`` where a side has no cell or comes twice."""
    rows: Tables = {}
    joined = {} if command.identities is None else read_identities(command.identities)
    for side, given in (("both", command.both), ("seen", command.seen), ("unseen", command.unseen)):
        for text in given:
            name, equals, pattern = text.partition("=")
            if not equals:
                raise UserError(f"--{side} {text}: must be NAME=FILES")
            table = read_files(pattern)
            table["person"] = [joined.get(person, person) for person in table.person]
            if table.run.nunique() > 1:
                raise UserError(f"--{side} {text}: not one network but {'; '.join(sorted(set(table.run)))}: name each")
            for one in SIDES if side == "both" else (side,):
                if one in rows.setdefault(name, {}):
                    raise UserError(f"--{side} {text}: {name} has its people {one} already")
                rows[name][one] = _side(table, one, side == "both", text)
    if not rows:
        raise UserError("nothing to draw: name files by --both, --seen or --unseen")
    return rows


def _side(table: pd.DataFrame, side: str, both: bool, text: str) -> pd.DataFrame:
    """The cells of one side; a file that does not say which side it is is taken at its flag's word."""
    said = table.unseen.notna()
    if both and not said.all():
        raise UserError(f"--both {text}: its files do not say who was seen: name them by --seen or --unseen")
    chosen = table[~said | (table.unseen == (side == "unseen"))]
    if chosen.empty:
        raise UserError(f"{text}: has no cell of people {side}")
    return chosen


def lines(tables: Tables) -> list[str]:
    """The same as a Markdown table."""
    head = [
        "| network | people seen: accuracy (95 %) | n | people never seen: accuracy (95 %) | n, people | price (95 %) |"
    ]
    head.append("| --- | --- | ---: | --- | ---: | ---: |")
    for name, sides in tables.items():
        found = {side: accuracy(table) for side, table in sides.items()}
        seen, unseen = found.get("seen"), found.get("unseen")
        cells = [name, seen or "", f"{seen.n:,}" if seen else "", unseen or ""]
        cells += [f"{unseen.n:,}, {unseen.people}" if unseen else "", stated_price(sides)]
        head.append(f"| {' | '.join(map(str, cells))} |")
    return head


def stated_price(sides: dict[str, pd.DataFrame]) -> str:
    """In points, with its interval; nothing where a side is missing."""
    if len(sides) < 2:
        return ""
    value, bounds = price(sides["seen"], sides["unseen"])
    interval = " to ".join(f"{100 * bound:.1f}" for bound in bounds) if bounds else "undefined"
    return f"{100 * value:.1f} points ({interval})"


@matplotlib.rc_context(STYLE)
def draw(tables: Tables) -> Figure:
    """Draw a row a network: both accuracies with their intervals, and a line for the price between them."""
    figure = Figure(figsize=(6.8, 1.3 + 0.62 * len(tables)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for row, sides in enumerate(tables.values()):
        if len(sides) == 2:
            values = [100 * float(sides[side].right.mean()) for side in SIDES]
            axes.plot(values, [row - 0.1] * 2, color=MUTED, linewidth=0.8, linestyle=":")
            axes.text(float(np.mean(values)), row - 0.18, stated_price(sides), ha="center", fontsize=7)
        for place, (side, table) in enumerate(sides.items()):
            found = accuracy(table)
            colour, marker, _ = SIDES[side]
            height = row + (0.12 if place else 0.0) * (len(sides) == 2)
            axes.plot([100 * found.low, 100 * found.high], [height] * 2, color=colour, linewidth=2, alpha=0.45)
            axes.plot(100 * found.value, height, marker, color=colour, markersize=7)
    for colour, marker, label in SIDES.values():
        axes.plot([], [], marker, color=colour, label=label)
    axes.set_yticks(range(len(tables)), list(tables))
    axes.set_ylim(len(tables) - 0.5, -0.5)
    axes.set_xlabel("accuracy (%); bars: 95 % interval, people drawn anew")
    axes.set_title("The price of leakage", loc="left")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def cli() -> None:
    """Read the command line and run."""
    main(tyro.cli(Leakage, prog="python -m benchmarks.leakage", description=__doc__))


if __name__ == "__main__":
    run_command("benchmarks.leakage", "cli")
