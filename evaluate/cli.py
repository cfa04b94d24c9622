"""The command line of this room: `python -m evaluate run`, `python -m evaluate demo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from evaluate.demo import Demo, demo
from evaluate.report import Report, report, summarise


@dataclass(frozen=True)
class Summary:
    """Print the table of the last report and the paths of its files, computing nothing anew."""

    artifacts: Path = Path("artifacts")  # folder whose report/ is read


Command = (
    Annotated[Report, tyro.conf.subcommand("run")]
    | Annotated[Summary, tyro.conf.subcommand("summary")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
)


def main() -> None:
    """Read the command line and run the sub-command."""
    command = tyro.cli(Command, prog="python -m evaluate", description="ONNX files -> metrics, CSVs, pictures.")
    if isinstance(command, Demo):
        demo(command)
    elif isinstance(command, Summary):
        summarise(command.artifacts / "report")
    else:
        summarise(report(command))


def main_run() -> None:
    """`python evaluate/run.py`: the sub-command `run` alone."""
    summarise(report(tyro.cli(Report, prog="python evaluate/run.py", description=Report.__doc__)))
