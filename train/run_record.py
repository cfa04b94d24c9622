"""``run.json``: written when a run is finished, it says everything needed to repeat it."""

import json
from dataclasses import asdict
from pathlib import Path

from contract.model_card import ModelCard
from contract.publish import publish_text
from train.config import Config
from train.history import Epoch

NAME = "run.json"


def write_run_record(folder: Path, config: Config, card: ModelCard, history: list[Epoch]) -> None:
    """Write configuration, card of the best weights, and the time that the run took."""
    record = {
        "command": f"python -m train --arch {config.arch}",
        "config": {
            name: value if isinstance(value, int | float | str) else str(value) for name, value in vars(config).items()
        },
        "card": asdict(card),
        "epochs": len(history),
        "seconds": round(sum(row.seconds for row in history), 1),
    }
    publish_text(folder / NAME, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
