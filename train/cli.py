"""The command line of this room."""

import sys
from dataclasses import replace
from pathlib import Path

import tyro

from contract.manifest import load_manifest
from train.config import Config
from train.curves import draw_comparison
from train.history import NAME as HISTORY
from train.history import read_history
from train.interrupt import StoppedError
from train.loop import train
from train.memory import keep_freed_memory
from train.processes import Processes, joined_processes
from train.resnet import ARCHITECTURES
from train.run_record import command_of


def main() -> None:
    """Train the network (or all three), then draw the comparison of all that are trained."""
    config = tyro.cli(Config, prog="python -m train", description=f"{Config.__doc__}\n\n{expectation()}")
    keep_freed_memory()
    with joined_processes() as processes:
        try:
            _train(config, processes)
        except StoppedError as stopped:
            if processes.first:
                again = command_of(replace(config, resume=True, force=False), processes.ranks)
                print(f"{stopped}; go on with: {again}", file=sys.stderr)
            raise SystemExit(stopped.status) from None


def expectation() -> str:
    """What accuracy takes how long, network by network: the table that docs/results.md quotes and `make help` shows."""
    return Path(__file__).with_name("expected.md").read_text(encoding="utf-8")


def _train(config: Config, processes: Processes) -> None:
    for one in _for_each_network(config, tuple(ARCHITECTURES)):
        folder = train(one, processes)
        if processes.first:
            print(f"{one.arch}: {folder}")
    if not processes.first:
        return
    histories = {a: config.artifacts / a / HISTORY for a in ARCHITECTURES if (config.artifacts / a / HISTORY).is_file()}
    picture = config.artifacts / "comparison" / "accuracy.png"
    dataset = load_manifest(config.shards).dataset
    draw_comparison({arch: read_history(path) for arch, path in histories.items()}, picture, dataset)
    print(f"comparison: {picture}")


def _for_each_network(config: Config, archs: tuple[str, ...]) -> list[Config]:
    """One configuration a network where ``--arch all`` asks for the three."""
    return [replace(config, arch=arch) for arch in archs] if config.arch == "all" else [config]  # type: ignore[arg-type]
