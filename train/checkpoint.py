"""Checkpoints: tensors and JSON-able values only, written by rename, read with ``weights_only=True``."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from contract.errors import UserError
from contract.model_card import ModelCard
from contract.publish import publishing

FORMAT = 1


def save_checkpoint(path: Path, card: ModelCard, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) with its card; the old file stays until the rename."""
    with publishing(path) as file:
        try:
            torch.save({"format": FORMAT, "card": card.to_json(), **state}, file)
        except RuntimeError as error:
            # Of a full disk, and of a second Ctrl-C, torch's writer says "unexpected pos".
            if isinstance(error.__context__, OSError | KeyboardInterrupt):
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path) -> tuple[ModelCard, dict[str, Any]]:
    """Read a checkpoint onto the CPU; raises ``UserError`` when it is missing, damaged, or another format."""
    if not path.exists():
        raise UserError(f"{path}: no such file: train the network first (make train ARCH=...)")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch's reader raise almost anything
        raise UserError(f"{path}: not a readable checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT or not isinstance(state.get("card"), str):
        raise UserError(f"{path}: not a leukoshard checkpoint of format {FORMAT}")
    return ModelCard.from_json(state["card"], str(path)), state


def load_weights(network: nn.Module, state: dict[str, Any], path: Path, key: str = "model") -> None:
    """Copy a checkpoint's weights into ``network``; raises ``UserError`` naming ``path`` when they do not fit."""
    try:
        network.load_state_dict(state[key])
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its weights {key!r} do not fit the network ({type(error).__name__})") from None
