"""Curves over thresholds: ROC, precision-recall, reliability, decision curve, sensitivity and specificity."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from evaluate.metrics import net_benefit
from evaluate.predictions import Predictions
from evaluate.rendering import COLOURS, DASHES, DPI, MARKERS, MUTED, STYLE
from evaluate.report_record import Network, Reliability, ReportRecord


@matplotlib.rc_context(STYLE)
def draw_roc(found: dict[str, Predictions], record: ReportRecord) -> Figure:
    """Draw ROC curves, and where each network operates."""
    figure, axes = _square()
    normal, blast = record.dataset.classes
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    for name, said in found.items():
        false_alarms, sensitivity, _ = roc_curve(said.labels, said.probability)
        auroc = record.networks[name].scores.auroc.value
        axes.plot(false_alarms, sensitivity, DASHES[name], color=COLOURS[name], label=f"{name}, AUROC {auroc:.3f}")
        (tn, fp), (fn, tp) = record.networks[name].confusion
        axes.plot(fp / (fp + tn), tp / (tp + fn), MARKERS[name], color=COLOURS[name], markersize=6)
    axes.set_xlabel(f"1 - specificity ({normal} cells called {blast})")
    axes.set_ylabel(f"sensitivity ({blast}s found)")
    axes.set_title("ROC; the mark is the operating threshold")
    axes.legend(loc="lower right")
    return figure


@matplotlib.rc_context(STYLE)
def draw_precision_recall(found: dict[str, Predictions], record: ReportRecord) -> Figure:
    """Draw precision-recall curves, where each network operates, and the share of blasts."""
    figure, axes = _square()
    share = record.dataset.class_counts[1] / record.dataset.n
    axes.axhline(share, color=MUTED, linewidth=0.8, linestyle=":")
    for name, said in found.items():
        precision, recall, _ = precision_recall_curve(said.labels, said.probability)
        auprc = record.networks[name].scores.auprc.value
        axes.plot(recall[:-1], precision[:-1], DASHES[name], color=COLOURS[name], label=f"{name}, AUPRC {auprc:.3f}")
        (_, fp), (fn, tp) = record.networks[name].confusion
        if tp + fp:
            axes.plot(tp / (tp + fn), tp / (tp + fp), MARKERS[name], color=COLOURS[name], markersize=6)
    axes.set_xlabel("sensitivity (recall)")
    axes.set_ylabel("PPV (precision)")
    axes.set_title(f"Precision and recall; dotted: share of {record.dataset.classes[1]}s, {share:.2f}")
    axes.legend(loc="lower left")
    return figure


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.8, 4.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    return figure, axes


@matplotlib.rc_context(STYLE)
def draw_reliability(networks: dict[str, Network], classes: Sequence[str]) -> Figure:
    """Draw reliability diagrams before and after temperature, with the number of cells in each bin below."""
    count = len(networks)
    figure = Figure(figsize=(max(3.2, 2.65 * count), 4.4), dpi=DPI, layout="constrained")
    panels = figure.subplots(2, count, squeeze=False, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    for column, (name, network) in enumerate(networks.items()):
        upper, lower = panels[:, column]
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        _reliability(upper, network.before, "s--", MUTED, "before")
        _reliability(upper, network.after, "o-", COLOURS[name], "after")
        lower.bar(
            [bin_.probability for bin_ in network.after.bins],
            [bin_.n for bin_ in network.after.bins],
            width=0.05,
            color=COLOURS[name],
        )
        temperature = "" if network.temperature is None else f", T = {network.temperature:.2f}"
        upper.set_title(name + temperature, pad=28)
        upper.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), box_aspect=1)
        lower.set_box_aspect(1 / 3)  # as wide as the square above, also where the height limits it: one x axis for both
        upper.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=7)  # below the title: inside, curves cross it
        lower.set_xlabel(f"probability of a {classes[1]}")
    panels[0, 0].set_ylabel(f"share of {classes[1]}s")
    panels[1, 0].set_ylabel("cells")
    return figure


def _reliability(axes: Axes, found: Reliability, form: str, colour: str, label: str) -> None:
    x, y = [b.probability for b in found.bins], [b.blasts for b in found.bins]
    axes.plot(x, y, form, color=colour, markersize=4, linewidth=1.1, label=f"{label}: ECE {found.ece:.3f}")


@matplotlib.rc_context(STYLE)
def draw_decision(found: dict[str, Predictions], classes: Sequence[str]) -> Figure:
    """Draw decision curves: net benefit of acting on each network's blasts, of acting on all, and on none."""
    figure = Figure(figsize=(4.8, 5.2), dpi=DPI, layout="constrained")
    axes, blast = figure.subplots(), classes[1]
    thresholds = np.arange(1, 100) / 100
    labels = next(iter(found.values())).labels
    everyone = net_benefit(labels, np.ones(len(labels), np.float32), thresholds)
    axes.plot(thresholds, everyone, color=MUTED, linewidth=0.9, linestyle=":", label=f"call every cell a {blast}")
    axes.axhline(0, color=MUTED, linewidth=0.9, label=f"call no cell a {blast}")
    highest = 0.0
    for name, said in found.items():
        benefit = net_benefit(labels, said.probability, thresholds)
        highest = max(highest, float(benefit.max()))
        axes.plot(thresholds, benefit, DASHES[name], color=COLOURS[name], label=name)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.15 * max(highest, 0.1), 1.1 * max(highest, 0.1))
    axes.set_xlabel(f"threshold probability: P({blast}) from which one would act")
    axes.set_ylabel(f"net benefit ({blast}s found per cell, less false alarms)")
    axes.set_title("Decision curve")
    figure.legend(loc="outside lower center", ncols=3)  # inside it would lie on a curve: they fill the axes
    return figure


@matplotlib.rc_context(STYLE)
def draw_thresholds(found: dict[str, Predictions], record: ReportRecord) -> Figure:
    """Draw sensitivity (solid) and specificity (dotted) against the threshold, and where each network operates."""
    figure = Figure(figsize=(4.8, 5.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    thresholds = np.arange(101, dtype=np.float32) / 100
    for name, said in found.items():
        called = said.probability[None] >= thresholds[:, None]
        operating = record.networks[name].threshold
        for label, line in ((1, "-"), (0, ":")):
            right = (called == label)[:, said.labels == label]
            if right.shape[1]:
                share = 100 * right.mean(axis=1)
                axes.plot(thresholds, share, line, color=COLOURS[name], label=name if label else None)
                axes.plot(operating, np.interp(operating, thresholds, share), MARKERS[name], color=COLOURS[name])
    axes.plot([], [], "-", color=MUTED, label="solid: sensitivity")
    axes.plot([], [], ":", color=MUTED, label="dotted: specificity")
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"threshold of the calibrated probability of a {record.dataset.classes[1]}")
    axes.set_ylabel("cells called rightly (%)")
    axes.set_title("Thresholds; the mark is where a network operates")
    figure.legend(loc="outside lower center", ncols=3)  # as above: a weak network's curves come down to the axis
    return figure
