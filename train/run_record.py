"""``config.json``, written when a run starts, and ``run.json``, when it is finished: everything needed to repeat it."""

import json
import shlex
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from contract.model_card import ModelCard
from contract.publish import publish_text
from train.config import Config
from train.history import Epoch

START_NAME, NAME = "config.json", "run.json"


def write_start_record(folder: Path, config: Config, card: ModelCard, processes: int) -> None:
    """Write command, configuration, digest of the shards' manifest, seed and versions."""
    record = {
        **_of(config, processes),
        "manifest_digest": card.manifest_digest,
        "source_digest": card.training["source_digest"],  # of the cells and their splits, whatever the recipe
        "seed": card.seed,
        "versions": card.versions,
    }
    publish_text(folder / START_NAME, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def source_digest_of(folder: Path) -> str | None:
    """The digest of the cells and splits that a run was started on; None where its config.json does not tell."""
    try:
        found = json.loads((folder / START_NAME).read_text(encoding="utf-8"))["source_digest"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(found)


def write_run_record(folder: Path, config: Config, card: ModelCard, history: list[Epoch], processes: int) -> None:
    """Write command, configuration, card of the best weights, and the time that the run took."""
    record = {
        **_of(config, processes),
        "card": asdict(card),
        "epochs": len(history),
        "seconds": round(sum(row.seconds for row in history), 1),
    }
    publish_text(folder / NAME, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def command_of(config: Config, processes: int) -> str:
    """The command line that starts a run of ``config``: flags that differ from their defaults."""
    start = "python -m train" if processes == 1 else f"torchrun --nproc-per-node {processes} -m train"
    flags = [f"--arch {config.arch}"]
    for field in fields(Config):
        value = getattr(config, field.name)
        if field.name != "arch" and value != field.default:
            flags.append(_flag(field.name.replace("_", "-"), value))
    return " ".join([start, *flags])


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {shlex.quote(str(value))}"


def _of(config: Config, processes: int) -> dict[str, Any]:
    anew = replace(config, resume=False, force=False)
    values = {k: v if isinstance(v, int | float | str | None) else str(v) for k, v in vars(config).items()}
    # Sums round by the threads that share them, and by the processor's vectors.
    rounding = {"threads": torch.get_num_threads(), "cpu": torch.backends.cpu.get_cpu_capability()}
    return {"command": command_of(anew, processes), "processes": processes, **rounding, "config": values}
