"""Pictures of accuracy per epoch: one a network, and one that compares the networks, as the course asks."""

import io
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from contract.fonts import families
from contract.publish import publish_bytes
from train.history import Epoch

matplotlib.rcParams["font.family"] = families(font_manager)
matplotlib.rcParams["text.parse_math"] = False  # a $ in a dataset's name is a $
COLOURS = {"resnet18": "#0072B2", "resnet50": "#E69F00", "resnet152": "#000000"}  # Okabe-Ito, colour-blind-safe


def draw_run(history: list[Epoch], path: Path, arch: str, dataset: str) -> None:
    """Draw one network's accuracy per epoch, training and testing phase, as a PNG."""
    draw_comparison({arch: history}, path, dataset)


def draw_comparison(histories: dict[str, list[Epoch]], path: Path, dataset: str) -> None:
    """Draw accuracy per epoch of several networks: training phase dashed, testing phase (valid) solid."""
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.subplots()
    for arch, history in histories.items():
        _draw_curves(axes, arch, history)
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy (%)")
    axes.set_title(f"Accuracy per epoch: {', '.join(histories)}\n{dataset}", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    publish_bytes(path, image.getvalue())


def _draw_curves(axes: Axes, arch: str, history: list[Epoch]) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # of one epoch, two ticks would be fractions
    epochs = [row.epoch for row in history]
    marker = "o" if len(history) < 3 else None
    colour = COLOURS.get(arch, "#009E73")
    train = [100 * row.train_accuracy for row in history]
    axes.plot(epochs, train, "--", marker=marker, color=colour, alpha=0.6, label=f"{arch} training phase")
    if not history[-1].validated:
        return
    valid = [100 * row.valid_accuracy for row in history]
    axes.plot(
        epochs, valid, "-", marker=marker, color=colour, label=f"{arch} testing phase (valid, max {max(valid):.1f})"
    )
