"""Pictures of cells and verdicts: confusion matrices, activation maps, the gallery of errors, agreement."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from contract.baseline import NAME as BASELINE
from contract.publish import publish_bytes
from evaluate.evidence import BLAST, NORMAL, OPACITY, legend, mean_evidence, paint_evidence, reach_of
from evaluate.gallery import split_picture
from evaluate.rendering import BLUE, DPI, ON_DARK, ON_LIGHT, PAPER, STYLE, png_bytes
from evaluate.report_record import ConfidentError, Network, Pair, ReportRecord

BLUE_ORANGE = LinearSegmentedColormap.from_list("evidence", [NORMAL, PAPER, BLAST])  # the scale beside a map
MAP = 448  # px of a map in the demo's picture, as wide as its panel
BLUES = LinearSegmentedColormap.from_list("blues", [PAPER, BLUE])


@matplotlib.rc_context(STYLE)
def draw_confusion(name: str, network: Network, record: ReportRecord) -> Figure:
    """Draw a confusion matrix: each square says its count and the percentage of its row (of the true class)."""
    counts = np.array(network.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(3.0, 3.2), dpi=DPI, layout="constrained")
    axes = _matrix(figure, shares)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]}\n{100 * share:.1f} %" if counts[row].any() else "0\nundefined"
        axes.text(column, row, text, ha="center", va="center", fontsize=13, color=ON_DARK if share > 0.55 else ON_LIGHT)
    classes = [f"{label_name} ({label})" for label, label_name in enumerate(record.dataset.classes)]
    axes.set_xticks([0, 1], classes)
    axes.set_yticks([0, 1], classes, rotation=90, va="center")
    axes.set_xlabel("called")
    axes.set_ylabel("true class")
    split = f"{record.dataset.split}, n = {record.dataset.n}"
    axes.set_title(f"{name} on {split}\nthreshold {network.threshold:.3f}\n({network.operating_point})", fontsize=9)
    return figure


def _matrix(figure: Figure, shares: NDArray[np.float64]) -> matplotlib.axes.Axes:
    axes = figure.subplots()
    axes.imshow(shares, cmap=BLUES, vmin=0, vmax=1)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return axes


@matplotlib.rc_context(STYLE)
def draw_agreement(names: list[str], pairs: tuple[Pair, ...]) -> Figure:
    """Draw how often each pair of columns gives the same verdict, and Cohen's kappa."""
    shares = np.eye(len(names))
    texts = {(i, i): "–" for i in range(len(names))}
    for pair in pairs:
        a, b = names.index(pair.a), names.index(pair.b)
        shares[a, b] = shares[b, a] = pair.agreement
        kappa = "undefined" if pair.kappa is None else f"{pair.kappa:.2f}"
        texts[a, b] = texts[b, a] = f"{100 * pair.agreement:.1f} %\nκ {kappa}"
    figure = Figure(figsize=(1.6 + 0.9 * len(names), 1.3 + 0.8 * len(names)), dpi=DPI, layout="constrained")
    low = min(pair.agreement for pair in pairs)
    scaled = np.clip((shares - low + 0.02) / (1 - low + 0.04), 0, 1) * (1 - np.eye(len(names)))
    axes = _matrix(figure, scaled)
    for (row, column), text in texts.items():
        colour = ON_DARK if scaled[row, column] > 0.55 else ON_LIGHT
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_title("same verdict (%) and Cohen's kappa")
    return figure


@matplotlib.rc_context(STYLE)
def draw_gallery(
    name: str, errors: tuple[ConfidentError, ...], classes: tuple[str, ...], pictures: dict[str, bytes]
) -> Figure:
    """Draw each error's cell beside its class activation map; ``pictures`` holds them by file name."""
    columns = 3
    rows = -(-len(errors) // columns)
    figure = Figure(figsize=(9, 0.7 + 1.95 * rows), dpi=DPI, layout="constrained")
    panels = np.atleast_2d(figure.subplots(rows, columns))
    for panel in panels.flat:
        panel.set_axis_off()
    with_map = name != BASELINE
    for panel, error in zip(panels.flat, errors, strict=False):
        panel.imshow(np.concatenate(split_picture(pictures[error.picture])[: 1 + with_map], axis=1))
        who = f", subject {error.subject}" if error.subject else ""
        verdict = f"{classes[error.label]}, called {classes[error.verdict]}: P({classes[1]}) {error.probability:.3f}"
        panel.set_title(f"{error.key}{who}\n{verdict}", fontsize=8)
    meaning = f"\nLeft the cell, right the {legend(classes)}" if with_map else ""
    figure.suptitle(f"{name}: the most confident errors{meaning}", fontsize=10)
    return figure


Seen = tuple[NDArray[np.uint8], NDArray[np.float32]]  # a cell [size, size, 3] RGB, the evidence for a blast [h, w]


@matplotlib.rc_context(STYLE)
def draw_activation(
    crop: NDArray[np.uint8], maps: dict[str, Seen], classes: tuple[str, ...], title: str, path: Path
) -> None:
    """Draw a cell, uint8 ``[size, size, 3]`` RGB, beside each network's evidence, with the scale of its colours.

    ``maps`` holds, by caption, the cell as that network sees it and its evidence (``evidence_of``); ``classes`` are the
    names of labels 0 and 1.
    """
    figure = Figure(figsize=(3.1 * (1 + len(maps)), 3.9), dpi=DPI, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, 1 + len(maps)))
    panels[0].imshow(crop)
    panels[0].set_title("as the network sees it", fontsize=9)
    for panel, (caption, (seen, evidence)) in zip(panels[1:], maps.items(), strict=True):
        large = mean_evidence([evidence], MAP)
        panel.imshow(paint_evidence(seen, large))
        panel.set_title(caption, fontsize=9)
        bar = figure.colorbar(_scale(large), ax=panel, orientation="horizontal", shrink=0.8, pad=0.02, alpha=OPACITY)
        bar.set_label(f"evidence: {classes[0]} ← 0 → {classes[1]} (log odds)", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    for panel in panels:
        panel.set_axis_off()
    figure.suptitle(title, fontsize=10)
    publish_bytes(path, png_bytes(figure))


def _scale(evidence: NDArray[np.float32]) -> ScalarMappable:
    reach = reach_of(evidence)
    return ScalarMappable(Normalize(-reach, reach), BLUE_ORANGE)
