"""Pictures of the evaluation: confusion matrices, and cells beside their class activation maps."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from contract.publish import publish_bytes
from evaluate.metrics import Metrics

BLUE_ORANGE = LinearSegmentedColormap.from_list("blue_orange", ["#0072B2", "#FFFFFF", "#D55E00"])
BLUES = LinearSegmentedColormap.from_list("blues", ["#FFFFFF", "#0072B2"])


def draw_confusion(metrics: Metrics, classes: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix: each square says its count and the percentage of its row (of the true class)."""
    counts = np.array(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=BLUES, vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]}\n{100 * share:.1f} %"
        axes.text(column, row, text, ha="center", va="center", fontsize=13, color="white" if share > 0.55 else "black")
    axes.set_xticks([0, 1], [f"{name} ({label})" for label, name in enumerate(classes)])
    axes.set_yticks([0, 1], [f"{name} ({label})" for label, name in enumerate(classes)], rotation=90, va="center")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.85)
    _publish(figure, path)


def draw_activation(crop: NDArray[np.uint8], maps: dict[str, NDArray[np.float32]], title: str, path: Path) -> None:
    """Draw a cell, uint8 ``[size, size, 3]`` RGB, beside each network's class activation map.

    ``maps`` holds, by caption, float ``[2, h, w]`` maps of both labels; shown is label 1 minus label 0, so orange
    speaks for a blast and blue for a normal cell, on a scale that is symmetric around zero and a network's own.
    """
    figure = Figure(figsize=(3.1 * (1 + len(maps)), 3.9), dpi=150, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, 1 + len(maps)))
    panels[0].imshow(crop)
    panels[0].set_title("as the network sees it", fontsize=9)
    size = crop.shape[0]
    grey = np.where(crop.any(axis=2), crop.mean(axis=2), 255)  # on white, colours laid over it keep their meaning
    for panel, (caption, cam) in zip(panels[1:], maps.items(), strict=True):
        evidence = cv2.resize(cam[1] - cam[0], (size, size), interpolation=cv2.INTER_CUBIC)
        reach = max(float(np.abs(evidence).max()), 1e-6)
        panel.imshow(grey, cmap="gray", vmin=0, vmax=255)
        drawn = panel.imshow(evidence, cmap=BLUE_ORANGE, vmin=-reach, vmax=reach, alpha=0.6)
        panel.set_title(caption, fontsize=9)
        bar = figure.colorbar(drawn, ax=panel, orientation="horizontal", shrink=0.8, pad=0.02)
        bar.set_label("evidence: normal ← 0 → blast (logit)", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    for panel in panels:
        panel.set_xticks([])
        panel.set_yticks([])
    figure.suptitle(title, fontsize=10)
    _publish(figure, path)


def _publish(figure: Figure, path: Path) -> None:
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    publish_bytes(path, image.getvalue())
