"""A trained network that another run makes use of (``--initial``, ``--teacher``), and which of them are refused."""

from pathlib import Path
from typing import Any

from contract.errors import UserError
from contract.model_card import ModelCard
from train.checkpoint import load_checkpoint


def load_lent(flag: str, path: Path, refit: bool) -> tuple[ModelCard, dict[str, Any]]:
    """Card and state of the checkpoint that ``flag`` names.

    Raises ``UserError`` for a refit's where this run is none: it may have learned cells that are judged here.
    """
    card, state = load_checkpoint(path)
    if card.training.get("refit") and not refit:
        raise UserError(f"{flag} {path}: learned valid too (--refit): nothing would be left to judge this run by")
    return card, state


def refuse_different(flag: str, path: Path, rule: str, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ``UserError`` with ``rule`` and every value of ``then`` that is not that of ``now``, by the same names."""
    differing = [f"{name} {then[name]} -> {now[name]}" for name in now if then[name] != now[name]]
    if differing:
        raise UserError(f"{flag} {path}: {rule}, these differ: {', '.join(differing)}")
