"""The command line of this room."""

import sys
from dataclasses import replace
from pathlib import Path

import tyro

from contract.manifest import Manifest, load_manifest
from contract.publish import remove
from train.config import Config
from train.curves import draw_comparison
from train.history import NAME as HISTORY
from train.history import read_history
from train.interrupt import StoppedError
from train.lent import refuse_overwritten
from train.loop import train
from train.memory import keep_freed_memory
from train.processes import Processes, joined_processes
from train.resnet import ARCHITECTURES
from train.resume import LAST
from train.run_record import NAME as RUN_RECORD
from train.run_record import command_of, source_digest_of

BASELINE = "`python -m train baseline` trains the classical baseline, whose options its own --help lists."


def main() -> None:
    """Train the network (or all three), then draw the comparison of all that are trained."""
    about = f"{Config.__doc__}\n\n{BASELINE}\n\n{expectation()}"
    config = tyro.cli(Config, prog="python -m train", description=about)
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
    networks = _for_each_network(config, tuple(ARCHITECTURES))
    for one in networks:  # of them all first: else some would train for hours before another is refused
        if one.teacher is not None:
            refuse_overwritten("--teacher", one.teacher, one)
    for number, one in enumerate(networks):
        try:
            folder = train(one, processes)
        except StoppedError:
            if config.force and processes.first:  # they are to be replaced: no run of before may be gone on with
                for later in networks[number + 1 :]:
                    for name in (LAST, RUN_RECORD):  # in this order: a record alone is refused, not gone on with
                        remove(later.artifacts / later.arch / name)
            raise
        if processes.first:
            print(f"{one.arch}: {folder}")
    if processes.first:
        _compare(config.artifacts, load_manifest(config.shards))


def _compare(artifacts: Path, manifest: Manifest) -> None:
    """Draw the networks that lie there together, but for those of other cells or splits, which are named."""
    folders = {arch: artifacts / arch for arch in ARCHITECTURES if (artifacts / arch / HISTORY).is_file()}
    others = [
        arch for arch, folder in folders.items() if source_digest_of(folder) not in (None, manifest.source_digest)
    ]
    histories = {arch: read_history(folder / HISTORY) for arch, folder in folders.items() if arch not in others}
    picture = artifacts / "comparison" / "accuracy.png"
    draw_comparison(histories, picture, manifest.dataset)
    print(f"comparison: {picture}" + (f"; without {', '.join(others)}, of other cells or splits" if others else ""))


def _for_each_network(config: Config, archs: tuple[str, ...]) -> list[Config]:
    """One configuration a network where ``--arch all`` asks for the three."""
    return [replace(config, arch=arch) for arch in archs] if config.arch == "all" else [config]  # type: ignore[arg-type]
