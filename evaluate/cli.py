"""The command line of this room: `python -m evaluate COMMAND`; `--help` lists the commands."""

import sys
from typing import Annotated, Any, Union

import tyro

from contract.command import imported

# Of each command: its module, its configuration, its function. Only the module of the command that is asked for is
# imported: scikit-learn and matplotlib take seconds to import, and not every command needs them.
COMMANDS = {
    "run": ("evaluate.report", "Report", "report"),
    "answers": ("evaluate.answers", "Answers", "answer"),
    "page": ("evaluate.report", "Page", "page"),
    "summary": ("evaluate.summary", "Summary", "print_summary"),
    "submit": ("evaluate.kaggle", "Submit", "submit"),
    "demo": ("evaluate.demo", "Demo", "demo"),
    "web": ("evaluate.web", "Web", "web"),
    "paper": ("evaluate.paper", "Paper", "paper"),
    "handin": ("evaluate.handin", "Handin", "handin"),
    "keep": ("evaluate.pretrained", "Keep", "keep"),
    "publish": ("evaluate.publish", "Publish", "publish"),
}


def main() -> None:
    """Read the command line and run the sub-command."""
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        _run(sys.argv[1], tyro.cli(_kind(sys.argv[1]), prog=f"python -m evaluate {sys.argv[1]}", args=sys.argv[2:]))
        return
    kinds = {name: _kind(name) for name in COMMANDS}
    listed = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items())
    # Without a command that is known, tyro prints the help or the error that lists them all, and ends here.
    description = "ONNX files -> a report with its page, submissions, a demo."
    tyro.cli(Union[listed], prog="python -m evaluate", description=description)  # type: ignore[call-overload]  # noqa: UP007


def main_run() -> None:
    """`python evaluate/run.py`: the sub-command `run` alone."""
    _run("run", tyro.cli(_kind("run"), prog="python evaluate/run.py"))


def _kind(name: str) -> Any:
    module, configuration, _ = COMMANDS[name]
    return getattr(imported(module), configuration)


def _run(name: str, configuration: Any) -> None:
    module, _, function = COMMANDS[name]
    getattr(imported(module), function)(configuration)
    if name == "run":
        from evaluate.summary import Summary, print_summary

        print_summary(Summary(configuration.artifacts))
