"""The table of a finished report in the terminal, and the paths of what it wrote."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contract.baseline import NAME as BASELINE
from contract.command import printable
from evaluate.report_record import Estimate, load_record

SCORES = {"accuracy": 1, "sensitivity": 1, "specificity": 1, "f1_weighted": 3, "auroc": 3}  # and digits: 1 is percent


@dataclass(frozen=True)
class Summary:
    """Print the table of the last report and the paths of its files, computing nothing anew."""

    artifacts: Path = Path("artifacts")  # folder whose report/ is read


def print_summary(command: Summary) -> None:
    """Print scores, notes and paths; raises ``UserError`` where there is no report yet."""
    folder = command.artifacts / "report"
    record = load_record(folder)
    title = f"{record.dataset.name}: {record.dataset.split}, n = {record.dataset.n}"
    table = Table(title=escape(printable(title)), title_justify="left")
    kind = record.bootstrap.drawn if record.bootstrap.clusters > 1 else "images"
    for column in ("network", "accuracy", f"95 % ({kind})", "sens.", "spec.", "weighted F1", "AUROC"):
        table.add_column(column, justify="left" if column == "network" else "right", no_wrap=True)
    for name, network in record.networks.items():
        values = [_text(getattr(network.scores, score), digits) for score, digits in SCORES.items()]
        accuracy = network.scores.accuracy
        bounds = accuracy.clustered or accuracy.by_image
        table.add_row(name, values[0], f"{bounds[0]:.1%} to {bounds[1]:.1%}" if bounds else "undefined", *values[1:])
    Console(width=max(100, Console().width)).print(table)
    for note in record.notes:
        print(f"note: {printable(note)}")
    if BASELINE not in record.networks:
        print("note: no classical baseline stands beside the networks: make baseline, then the report again")
    pictures = sorted((command.artifacts / "comparison").glob("*.png"))
    submissions = [folder / name for name in record.files if name.startswith("submission_")]
    print("\n".join(map(str, [*pictures, *submissions, folder / "metrics.json", folder / "index.html"])))


def _text(estimate: Estimate, digits: int) -> str:
    if estimate.value is None:
        return "undefined"
    return f"{estimate.value:.1%}" if digits == 1 else f"{estimate.value:.{digits}f}"
