"""Learning curves from what benchmarks/ablation.py left: people seen and never seen, against epochs or people.

    python -m benchmarks.learning_curves --files "artifacts/ablation/stain=none-resnet18-64px-*.csv" --against epochs

One point a number of epochs, number of folds and folder (its seeds and folds pooled), one pair of lines a network,
setting and size.
Against people: ablations with other --folds, since more folds leave more identities to learn from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import pandas as pd
import tyro
from matplotlib.figure import Figure

from benchmarks.ablation_settings import NAME
from benchmarks.predictions_files import Accuracy, accuracy, read_files
from contract.command import run_command
from contract.errors import UserError
from contract.publish import publish_bytes
from evaluate.rendering import BLUE, DPI, ORANGE, STYLE, png_bytes

LINES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))  # of up to four networks or settings
LABELS = {"epochs": "epochs", "people": "people (identities) in training"}


@dataclass(frozen=True)
class Curves:
    """Draw and print accuracy on people seen and never seen, point by point."""

    files: tuple[str, ...]  # CSVs of benchmarks/ablation.py, as patterns
    against: Literal["epochs", "people"] = "epochs"  # what the curves rise with: epochs, or people learned from
    out: Path = Path("docs/results/learning_curves.png")  # picture to write


@dataclass(frozen=True)
class Point:
    """One training budget."""

    x: float
    seen: Accuracy
    unseen: Accuracy
    runs: int  # networks


def main(command: Curves) -> None:
    curves = read_curves(command)
    publish_bytes(command.out, png_bytes(draw(curves, command.against)))
    print(f"| network | {command.against} | runs | people seen (95 %) | people never seen (95 %) |")
    print("| --- | ---: | ---: | --- | --- |")
    for name, points in curves.items():
        for p in points:
            print(f"| {name} | {p.x:g} | {p.runs} | {p.seen} | {p.unseen} |")
    print(command.out)


def read_curves(command: Curves) -> dict[str, list[Point]]:
    """By network, setting and size, the points from left to right; raises ``UserError`` for a file of another name."""
    tables = read_files(*command.files)
    groups: dict[tuple[str, str, int, str, str], list[pd.DataFrame]] = {}
    for file, table in tables.groupby("file"):
        named = NAME.fullmatch(Path(str(file)).name)
        if named is None or table.unseen.isna().any() or table.run.nunique() > 1:
            raise UserError(f"{file}: not of benchmarks/ablation.py: SETTING-ARCH-SIZEpx-eEPOCHS-…-sSEED-fFOLD.csv")
        curve = f"{named['arch']}, {named['size']} px, {named['setting']}"
        definition = (named["folds"] or "", named["definition"] or "")
        groups.setdefault((curve, str(Path(str(file)).parent), int(named["epochs"]), *definition), []).append(table)
    curves: dict[str, list[Point]] = {}
    for (curve, _, epochs, *_), parts in sorted(groups.items(), key=lambda item: item[0]):
        curves.setdefault(curve, []).append(_point(parts, epochs if command.against == "epochs" else None))
    if len(curves) > len(LINES):
        raise UserError(f"{len(curves)} curves: at most {len(LINES)} can be told apart; name fewer files")
    return {name: sorted(points, key=lambda point: point.x) for name, points in curves.items()}


def _point(parts: list[pd.DataFrame], epochs: int | None) -> Point:
    """Every network's people in training are all but its own people never seen."""
    whole = pd.concat(parts)
    everybody = whole.person.nunique()
    people = sum(everybody - part.person[part.unseen.astype(bool)].nunique() for part in parts) / len(parts)
    seen, unseen = (accuracy(whole[whole.unseen == side]) for side in (False, True))
    return Point(float(epochs if epochs is not None else people), seen, unseen, len(parts))


@matplotlib.rc_context(STYLE)
def draw(curves: dict[str, list[Point]], against: str) -> Figure:
    """Draw people seen in blue and never seen in orange, with 95 % intervals, people drawn anew."""
    figure = Figure(figsize=(7.2, 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    ticks = sorted({point.x for points in curves.values() for point in points})
    aside = 0.012 * (ticks[-1] - ticks[0] or 1.0)  # bars of two curves at one place stand side by side
    for number, ((name, points), (line, marker)) in enumerate(zip(curves.items(), LINES, strict=False)):
        x = [point.x + aside * (number - (len(curves) - 1) / 2) for point in points]
        for side, colour, label in (("seen", BLUE, "people seen"), ("unseen", ORANGE, "people never seen")):
            found = [getattr(point, side) for point in points]
            reach = [[100 * (f.value - f.low) for f in found], [100 * (f.high - f.value) for f in found]]
            values = [100 * f.value for f in found]
            style: dict[str, Any] = {
                "color": colour,
                "linestyle": line,
                "marker": marker,
                "markersize": 5,
                "capsize": 3,
            }
            axes.errorbar(x, values, yerr=reach, label=f"{label}: {name}", elinewidth=0.8, **style)
    axes.set_xlabel(LABELS[against])
    axes.set_ylabel("accuracy (%)")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    if len(ticks) == 1:
        axes.set_xlim(ticks[0] - 1, ticks[0] + 1)
    axes.set_title("Learning curves; bars: 95 % interval, people drawn anew", loc="left")
    axes.legend(loc="best", fontsize=7)
    return figure


def cli() -> None:
    """Read the command line and run."""
    main(tyro.cli(Curves, prog="python -m benchmarks.learning_curves", description=__doc__))


if __name__ == "__main__":
    run_command("benchmarks.learning_curves", "cli")
