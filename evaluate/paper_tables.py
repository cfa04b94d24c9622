"""The tables and figures of the course's report: every number of them stands in ``metrics.json``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract.baseline import NAME as BASELINE
from contract.errors import UserError
from evaluate.report_record import AGAIN, ENSEMBLE, Estimate, Interval, ModelFile, ReportRecord

Part = dict[str, Any]
# Of a card's training configuration, what a reader asks for first.
TRAINING = ("optimizer", "lr", "epochs", "cycles", "batch_size", "weight_decay", "label_smoothing", "ema_decay")


def part_tables(record: ReportRecord) -> dict[str, list[Part]]:
    """By part of the report: its tables, as the typesetter draws them."""
    return {
        "introduction": [_cells(record)],
        "implementation-model": _per_network(record, "The networks, written by hand and trained from scratch", _model),
        "implementation-loader": _per_network(record, "What the loader hands to the networks", _loader),
        "preprocessing-how": _per_network(record, "The recipe from a raw image to a network's pixels", _recipe),
        "results-accuracy": [_highest(record), _scores(record)],
        "results-comparison": [_pairs(record)] if record.pairs else [],
    }


def part_pictures(record: ReportRecord, folder: Path) -> dict[str, list[Part]]:
    """By part of the report: its figures, files of the report's folder; raises ``UserError`` where one is missing."""
    split = f"{record.dataset.split}, n = {record.dataset.n}"
    confusion = [_file(folder, f"confusion_{name}") for name in record.networks]
    return {
        "implementation-confusion": [
            _picture(confusion, f"Confusion matrices on {split}, each at its network's operating threshold.", 0.62)
        ],
        "results-comparison": [
            *_if_made(
                record, folder, "accuracy", "Accuracy per epoch of the networks, training and testing phase.", 0.95
            ),
            *_if_made(record, folder, "roc", f"ROC curves of the networks on {split}.", 0.5),
            *_if_made(record, folder, "intervals", f"Scores on {split} with their 95 % intervals.", 0.85),
        ],
    }


def headline(record: ReportRecord) -> str:
    """The highest test accuracy, in one sentence."""
    name, network = max(
        ((n, network) for n, network in record.networks.items() if n not in (ENSEMBLE, BASELINE)),
        key=lambda item: item[1].scores.accuracy.value or 0.0,
    )
    return (
        f"Highest test accuracy of a single network: {_percent(network.scores.accuracy.value)} ({name}, "
        f"{record.dataset.split}, n = {record.dataset.n}, threshold {network.threshold:.3f})."
    )


def _cells(record: ReportRecord) -> Part:
    d = record.dataset
    counts = ", ".join(f"{n:,} {name}" for name, n in zip(d.classes, d.class_counts, strict=True))
    known = record.bootstrap.cluster == "identity"
    people = f"{d.people} ({d.people_shared_with_train} of them in train too)" if known else "unknown"
    ids = f"{d.subjects} ({d.subjects_shared_with_train} of them in train too)" if d.subjects else "unknown"
    rows = [
        ["data set", d.name],
        ["scored split", f"{d.split} (splits: {d.split_by}), {d.n:,} cells"],
        ["cells by class", counts],
        ["subject ids", ids],
        ["people", people],
    ]
    return _table("The cells that were scored", ["", ""], rows, numeric=False)


def _per_network(record: ReportRecord, caption: str, describe: Callable[[ModelFile], dict[str, str]]) -> list[Part]:
    """One column a network, one row a fact."""
    columns = {name: describe(n.file) for name, n in record.networks.items() if n.file is not None}
    if not columns:
        return []
    facts = list(dict.fromkeys(fact for column in columns.values() for fact in column))
    rows = [[fact, *(column.get(fact, "–") for column in columns.values())] for fact in facts]
    return [_table(caption, ["", *columns], rows)]


def _model(file: ModelFile) -> dict[str, str]:
    card, training = file.card, file.card.get("training", {})
    facts = {key.replace("_", " "): str(training[key]) for key in TRAINING if key in training}
    return {
        "ONNX file": f"{file.bytes / 1e6:.1f} MB",
        "epoch of the weights": str(card["epoch"]),
        "seed": str(card["seed"]),
        **facts,
        "temperature": f"{card.get('temperature', 1.0):.3f}",
    }


def _loader(file: ModelFile) -> dict[str, str]:
    card, training = file.card, file.card.get("training", {})
    size = card["recipe"]["size"]
    facts = {
        "image": f"{size} × {size} × 3, uint8",
        "mean of cell pixels (RGB)": ", ".join(f"{value:.1f}" for value in card["mean"]),
        "deviation (RGB)": ", ".join(f"{value:.1f}" for value in card["std"]),
    }
    return facts | {
        key.replace("_", " "): str(training[key]) for key in ("batch_size", "flip", "affine") if key in training
    }


def _recipe(file: ModelFile) -> dict[str, str]:
    recipe = file.card["recipe"]
    window = {"window": f"{recipe['window']} px"} if recipe["crop"] == "native" else {}
    return {
        "stain normalisation": recipe["stain"],
        "crop": recipe["crop"],
        **window,
        "stored side": f"{recipe['size']} px",
    }


def _highest(record: ReportRecord) -> Part:
    """The course asks for the highest accuracy of the testing phase, over the epochs of ``history.csv``."""
    rows = []
    for name, epochs in record.history.items():
        best = max(epochs, key=lambda epoch: (epoch.valid, -epoch.epoch))
        rows.append([name, str(len(epochs)), str(best.epoch), _percent(best.valid), _percent(epochs[-1].train)])
    head = ["network", "epochs", "best epoch", "highest test accuracy", "last training accuracy"]
    return _table("Highest accuracy of the testing phase while training", head, rows)


def _scores(record: ReportRecord) -> Part:
    rows = []
    for name, network in record.networks.items():
        s = network.scores
        low_high = s.accuracy.clustered or s.accuracy.by_image
        rest = (s.balanced_accuracy, s.sensitivity, s.specificity, s.f1, s.auroc)
        rows.append([name, _percent(s.accuracy.value), _interval(low_high), *map(_share, rest)])
    drawn = record.bootstrap.drawn if record.bootstrap.clusters > 1 else "images"
    caption = (
        f"The exported networks on {record.dataset.split}, n = {record.dataset.n}; 95 % intervals by bootstrap of "
        f"{drawn}"
    )
    f1 = f"F1 of {record.dataset.classes[1]}s"
    head = ["network", "accuracy", "interval", "balanced", "sens.", "spec.", f1, "AUROC"]
    return _table(caption, head, rows)


def _pairs(record: ReportRecord) -> Part:
    rows = [
        [f"{p.a}, {p.b}", _percent(p.agreement), str(p.only_a), str(p.only_b), f"{p.p:.3g}", f"{p.p_holm:.3g}"]
        for p in record.pairs
    ]
    head = ["pair (a, b)", "same verdict", "only a right", "only b right", "McNemar p", "p (Holm)"]
    caption = "The networks compared pair by pair; p takes cells as independent, which cells of one person are not"
    return _table(f"{caption}, and is too small", head, rows)


def _table(caption: str, head: list[str], rows: list[list[str]], numeric: bool = True) -> Part:
    return {"caption": caption, "head": head, "rows": rows, "numeric": numeric}


def _picture(files: list[Path], caption: str, width: float) -> Part:
    return {"files": files, "caption": caption, "width": width}


def _if_made(record: ReportRecord, folder: Path, stem: str, caption: str, width: float) -> list[Part]:
    """A figure that a report has only where there is something to draw."""
    made = any(Path(name).stem == stem for name in record.files)
    return [_picture([_file(folder, stem)], caption, width)] if made else []


def _file(folder: Path, stem: str) -> Path:
    for suffix in (".svg", ".png"):
        if (folder / (stem + suffix)).is_file():
            return folder / (stem + suffix)
    raise UserError(f"{folder / stem}.png: no such figure: {AGAIN}")


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.2f} %"


def _share(estimate: Estimate) -> str:
    return "undefined" if estimate.value is None else f"{estimate.value:.3f}"


def _interval(found: Interval | None) -> str:
    return "undefined" if found is None else f"{100 * found[0]:.1f} to {100 * found[1]:.1f}"
