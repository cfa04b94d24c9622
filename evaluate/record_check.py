"""Whether a ``metrics.json`` hangs together: one edited by hand, or made elsewhere, may name what nothing can draw."""

import datetime
from pathlib import Path
from typing import Any

from contract.baseline import NAME as BASELINE
from contract.errors import UserError
from evaluate.report_record import AGAIN, ARCHS, ENSEMBLE, Network, ReportRecord

LABELS = (0, 1)


def check_record(record: ReportRecord, path: Path) -> None:
    """Raise ``UserError`` naming the file ``path`` and the first rule that the record breaks."""
    columns = record.networks
    unlabelled = [network.unlabelled for network in columns.values()]
    subjects = [{row.subject for row in n.subjects} for n in columns.values()]
    rules = {
        "networks: must be known columns, one of them a network": (
            columns.keys() <= {*ARCHS, BASELINE, ENSEMBLE} and any(network.file for network in columns.values())
        ),
        "networks: their subjects must be the same": all(ids == subjects[0] for ids in subjects),
        "networks: their unlabelled splits must be the same, a cell in each at least": all(
            splits.keys() == unlabelled[0].keys() and all(split.n > 0 for split in splits.values())
            for splits in unlabelled
        ),
        "pairs: must be of networks that it has": all({pair.a, pair.b} <= columns.keys() for pair in record.pairs),
        "history: must be of known networks, an epoch at least": (
            record.history.keys() <= {*ARCHS} and all(record.history.values())
        ),
        "dataset.classes: must be two names": len(record.dataset.classes) == 2,
        "date: must be YYYY-MM-DD": _is_date(record.date),
    }
    rules |= {f"networks.{name}: {rule}": holds for name, n in columns.items() for rule, holds in _rules(n)}
    broken = next((rule for rule, holds in rules.items() if not holds), None)
    if broken is not None:
        raise UserError(f"{path}: {broken}: {AGAIN}")


def _rules(network: Network) -> list[tuple[str, bool]]:
    scores = network.scores
    said = [label for error in network.errors for label in (error.label, error.verdict)]
    people = [label for row in network.subjects for label in (row.vote, row.truth)]
    return [
        ("labels must be 0 and 1", {*said} <= {*LABELS} and {*people} <= {*LABELS, None}),
        ("file.card must be a network's", network.file is None or _is_card(network.file.card)),
        (
            "auroc and auprc must both be known, or neither",
            (scores.auroc.value is None) == (scores.auprc.value is None),
        ),
        (
            "baseline.trained_on must be a number at least",
            network.baseline is None or bool(network.baseline.trained_on),
        ),
    ]


def _is_card(card: dict[str, Any]) -> bool:
    """Whether it has what the page and the PDF say of a network; it may be of an older version."""
    recipe, numbers = card.get("recipe"), [card.get("mean"), card.get("std"), [card.get("temperature", 1.0)]]
    return (
        isinstance(recipe, dict)
        and recipe.keys() >= {"stain", "crop", "size", "window"}
        and isinstance(card.get("training"), dict)
        and card.keys() >= {"epoch", "seed"}
        and all(isinstance(part, list) and all(isinstance(v, int | float) for v in part) for part in numbers)
    )


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
