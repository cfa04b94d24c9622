"""Charts of scores with their intervals, of subjects, and of accuracy per epoch."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evaluate.metrics import NAMES
from evaluate.rendering import BLUE, COLOURS, DPI, INK, MARKERS, MUTED, ORANGE, STYLE
from evaluate.report_record import EpochAccuracy, Estimate, ReportRecord

TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV (precision)",
    "npv": "NPV",
    "f1": "F1 of {}s",  # of label 1, by its name
    "f1_weighted": "weighted F1",
    "mcc": "MCC",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier (lower is better)",
    "ece": "ECE (lower is better; intervals too high)",
}
MOST_SUBJECTS = 80  # rows of the dot plot


def titles_of(classes: Sequence[str]) -> dict[str, str]:
    """What each score is called; ``classes`` are the names of labels 0 and 1."""
    return TITLES | {"f1": TITLES["f1"].format(classes[1])}


@matplotlib.rc_context(STYLE)
def draw_intervals(record: ReportRecord) -> Figure:
    """Draw every score with both intervals, a panel a score, a row a network."""
    names, titles = list(record.networks), titles_of(record.dataset.classes)
    columns, rows = 4, -(-(len(NAMES) + 1) // 4)
    figure = Figure(figsize=(10, rows * (0.75 + 0.24 * len(names))), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for place, (panel, score) in enumerate(zip(panels.flat, NAMES, strict=False)):
        for row, name in enumerate(names):
            _estimate(panel, row, getattr(record.networks[name].scores, score), COLOURS[name], MARKERS[name])
        panel.set_title(titles[score], fontsize=9, loc="left")
        panel.set_yticks(range(len(names)), names if place % columns == 0 else [""] * len(names))
        panel.set_ylim(len(names) - 0.4, -0.6)
        panel.xaxis.set_major_locator(MaxNLocator(4))
        panel.grid(axis="y", visible=False)
    for panel in panels.flat[len(NAMES) :]:
        panel.set_axis_off()
    thick = Line2D(
        [], [], color=MUTED, linewidth=3.5, solid_capstyle="butt", label=f"95 %, {record.bootstrap.drawn} drawn anew"
    )
    thin = Line2D([], [], color=MUTED, linewidth=1, label="95 %, images drawn anew")
    panels.flat[-1].legend(handles=[thick, thin] if record.bootstrap.clusters > 1 else [thin], loc="center right")
    return figure


def _estimate(axes: Axes, row: int, estimate: Estimate, colour: str, marker: str) -> None:
    if estimate.value is None:
        axes.text(0.5, row, "undefined", transform=axes.get_yaxis_transform(), ha="center", va="center", color=MUTED)
        return
    if estimate.clustered:
        axes.plot(estimate.clustered, [row - 0.1] * 2, color=colour, linewidth=3.5, alpha=0.45, solid_capstyle="butt")
    if estimate.by_image:
        axes.plot(estimate.by_image, [row + 0.18] * 2, color=colour, linewidth=1)
    axes.plot([estimate.value], [row - 0.1], marker, color=colour, markersize=5)


@matplotlib.rc_context(STYLE)
def draw_subjects(record: ReportRecord) -> Figure:
    """Draw each subject id's accuracy in each network, the worst on top; the area of a dot is the number of cells."""
    by_name = {name: {row.subject: row for row in network.subjects} for name, network in record.networks.items()}
    mean = {s: np.mean([rows[s].accuracy for rows in by_name.values()]) for s in next(iter(by_name.values()))}
    order = sorted(mean, key=lambda subject: (mean[subject], subject))[:MOST_SUBJECTS]
    figure = Figure(figsize=(1.2 + 2.2 * len(by_name), 1.1 + 0.17 * len(order)), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(by_name), squeeze=False, sharey=True)[0]
    for panel, (name, rows) in zip(panels, by_name.items(), strict=True):
        panel.axvline(
            100 * (record.networks[name].scores.accuracy.value or 0), color=MUTED, linewidth=0.8, linestyle=":"
        )
        for place, subject in enumerate(order):
            row = rows[subject]
            colour = {0: BLUE, 1: ORANGE, None: INK}[row.truth]
            panel.plot(100 * np.array(row.interval), [place] * 2, color=colour, linewidth=0.8, alpha=0.55)
            panel.scatter(100 * row.accuracy, place, s=10 + 1.6 * row.n, color=colour, linewidths=0, zorder=3)
        panel.set_title(name)
        panel.set_xlim(-4, 104)
        panel.set_xlabel("accuracy (%)")
    panels[0].set_yticks(range(len(order)), order)
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    panels[0].set_ylabel("subject id")
    _class_legend(figure, record.dataset.classes)
    return figure


def _class_legend(figure: Figure, classes: tuple[str, ...]) -> None:
    marks = zip((BLUE, ORANGE), classes, strict=True)
    handles = [Line2D([], [], marker="o", linestyle="", color=c, label=name) for c, name in marks]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)


@matplotlib.rc_context(STYLE)
def draw_accuracy(history: dict[str, tuple[EpochAccuracy, ...]]) -> Figure:
    """Draw accuracy per epoch: the training phase dotted, the testing phase solid."""
    figure = Figure(figsize=(7.2, 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for name, rows in history.items():
        epochs = [row.epoch for row in rows]
        best = max(row.valid for row in rows)
        marker = MARKERS[name] if len(rows) < 15 else ""
        axes.plot(epochs, [100 * row.train for row in rows], ":", marker=marker, markersize=3, color=COLOURS[name])
        label = f"{name} (testing phase: highest {100 * best:.1f} %)"
        axes.plot(
            epochs,
            [100 * row.valid for row in rows],
            "-",
            marker=marker,
            markersize=4,
            color=COLOURS[name],
            label=label,
        )
    axes.plot([], [], ":", color=MUTED, label="training phase (augmented images)")
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy (%)")
    axes.set_title("Accuracy per epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(loc="best")
    return figure
