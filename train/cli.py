"""The command line of this room."""

from dataclasses import replace

import tyro

from contract.manifest import load_manifest
from train.config import Config
from train.curves import draw_comparison
from train.history import NAME as HISTORY
from train.history import read_history
from train.loop import train
from train.resnet import ARCHITECTURES


def main() -> None:
    """Train the network (or all three), then draw the comparison of all that are trained."""
    config = tyro.cli(Config, prog="python -m train", description=Config.__doc__)
    for one in _for_each_network(config, tuple(ARCHITECTURES)):
        print(f"{one.arch}: {train(one)}")
    histories = {a: config.artifacts / a / HISTORY for a in ARCHITECTURES if (config.artifacts / a / HISTORY).is_file()}
    picture = config.artifacts / "comparison" / "accuracy.png"
    dataset = load_manifest(config.shards).dataset
    draw_comparison({arch: read_history(path) for arch, path in histories.items()}, picture, dataset)
    print(f"comparison: {picture}")


def _for_each_network(config: Config, archs: tuple[str, ...]) -> list[Config]:
    """One configuration a network where ``--arch all`` asks for the three."""
    return [replace(config, arch=arch) for arch in archs] if config.arch == "all" else [config]  # type: ignore[arg-type]
