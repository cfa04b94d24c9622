"""The command line of this room: `python -m evaluate run`, `python -m evaluate demo`."""

from typing import Annotated

import tyro

from evaluate.demo import Demo, demo
from evaluate.report import Report, report

Command = Annotated[Report, tyro.conf.subcommand("run")] | Annotated[Demo, tyro.conf.subcommand("demo")]


def main() -> None:
    """Read the command line and run the sub-command."""
    command = tyro.cli(Command, prog="python -m evaluate", description="ONNX files -> metrics, CSVs, pictures.")
    if isinstance(command, Demo):
        demo(command)
    else:
        report(command)


def main_run() -> None:
    """`python evaluate/run.py`: the sub-command `run` alone."""
    report(tyro.cli(Report, prog="python evaluate/run.py", description=Report.__doc__))
