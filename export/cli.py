"""The command line of this room: `python -m export`, `python -m export card FILE`, `python -m export restore FILE`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from contract.errors import UserError
from export.calibrate import read_operating_point
from export.card import show_card
from export.network import Plan, export_network
from export.restore import restore_file
from train.resnet import ARCHITECTURES


@dataclass(frozen=True)
class Export:
    """Export trained networks: ARTIFACTS/ARCH/best.pt -> model.onnx, model.int8.onnx, model.raw.onnx, each verified.

    `python -m export card FILE` prints the model card of an exported file; `python -m export restore FILE` makes a
    checkpoint of it, from which training can start (`python -m train --initial`).
    """

    arch: Literal["resnet18", "resnet50", "resnet152", "all"] = "all"  # network; all: every one that is trained
    artifacts: Path = Path("artifacts")  # folder of the trained networks
    shards: tuple[Path, ...] = (Path("shards"),)  # folders of shards: calibrated and compared on a network's own ones
    data: Path | None = None  # folder of the raw images; model.raw.onnx is compared with the builder on those of valid
    counterpart: Path | None = None  # of a refit: folder of the exported network that the same training made without it
    operating_point: str = "default"  # threshold: default (0.5), balanced, or the least sensitivity, such as 0.95
    int8: bool = True  # also model.int8.onnx, where it decides as model.onnx does
    raw: bool = True  # also model.raw.onnx, which takes raw images


@dataclass(frozen=True)
class Card:
    """Print the model card of an exported network."""

    file: Annotated[Path, tyro.conf.Positional]  # model.onnx, model.int8.onnx or model.raw.onnx


@dataclass(frozen=True)
class Restore:
    """Make a checkpoint of an exported network, OUT/ARCH/best.pt, from which training can start (train --initial)."""

    file: Annotated[Path, tyro.conf.Positional]  # model.onnx or model.int8.onnx
    shards: tuple[Path, ...] = (Path("shards"),)  # folders of shards: it is compared on those that it was trained on
    out: Path = Path("artifacts/restored")  # folder to write


def main() -> None:
    """Export one network, or all that are trained; print a card; or make a checkpoint of a file."""
    if sys.argv[1:2] == ["restore"]:
        asked = tyro.cli(Restore, prog="python -m export restore", args=sys.argv[2:])
        restore_file(asked.file, asked.shards, asked.out)
        return
    if sys.argv[1:2] == ["card"]:
        show_card(tyro.cli(Card, prog="python -m export card", args=sys.argv[2:]).file)
        return
    command = tyro.cli(Export, prog="python -m export", description=Export.__doc__)
    point = read_operating_point(command.operating_point)
    archs = [command.arch] if command.arch != "all" else _trained(command.artifacts)
    plan = Plan(command.artifacts, command.shards, command.data, point, command.int8, command.raw, command.counterpart)
    for arch in archs:
        export_network(arch, plan)


def _trained(artifacts: Path) -> list[str]:
    found = [arch for arch in ARCHITECTURES if (artifacts / arch / "best.pt").is_file()]
    if not found:
        raise UserError(f"{artifacts}: no trained network there (ARCH/best.pt): make train ARCH=resnet18")
    return found
