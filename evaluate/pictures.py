"""Every picture of a report, from its record, its predictions and the pictures of its errors."""

from evaluate.charts import draw_accuracy, draw_intervals, draw_subjects
from evaluate.curves import draw_decision, draw_precision_recall, draw_reliability, draw_roc, draw_thresholds
from evaluate.figures import draw_agreement, draw_confusion, draw_gallery
from evaluate.predictions import Predictions
from evaluate.rendering import Picture, render
from evaluate.report_record import ReportRecord


def draw_pictures(record: ReportRecord, found: dict[str, Predictions], gallery: dict[str, bytes]) -> list[Picture]:
    """Draw what this record has something to show for; ``gallery`` holds the single errors' PNGs by file name."""
    networks, classes = record.networks, record.dataset.classes
    names = ", ".join(networks)
    pictures = [
        render(draw_intervals(record), "intervals", f"Scores of {names} with 95 % intervals; the table below has them"),
        render(
            draw_reliability(networks, classes),
            "reliability",
            f"Reliability diagrams of {names}, before and after temperature",
        ),
        render(draw_decision(found, classes), "decision", f"Decision curves of {names}"),
        render(draw_thresholds(found, record), "thresholds", f"Sensitivity and specificity of {names} by threshold"),
    ]
    if all(network.scores.auroc.value is not None for network in networks.values()):
        pictures.append(render(draw_roc(found, record), "roc", f"ROC curves of {names}"))
        alt = f"Precision-recall curves of {names}"
        pictures.append(render(draw_precision_recall(found, record), "precision_recall", alt))
    for name, network in networks.items():
        (tn, fp), (fn, tp) = network.confusion
        alt = (
            f"Confusion matrix of {name}: of {tn + fp} {classes[0]} cells {tn} called {classes[0]}, {fp} {classes[1]}; "
            f"of {fn + tp} {classes[1]} cells {fn} called {classes[0]} and {tp} {classes[1]}"
        )
        pictures.append(render(draw_confusion(name, network, record), f"confusion_{name}", alt))
        if network.errors:
            alt = f"{len(network.errors)} most confident errors of {name} with class activation maps"
            pictures.append(render(draw_gallery(name, network.errors, classes, gallery), f"gallery_{name}", alt))
    if next(iter(networks.values())).subjects:
        pictures.append(render(draw_subjects(record), "subjects", f"Accuracy of each subject id's cells in {names}"))
    if record.pairs:
        pictures.append(render(draw_agreement(list(networks), record.pairs), "agreement", f"Agreement of {names}"))
    if record.history:
        alt = f"Accuracy per epoch of {', '.join(record.history)}, training and testing phase"
        pictures.append(render(draw_accuracy(record.history), "accuracy", alt))
    return pictures
