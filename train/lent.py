"""A trained network that another run makes use of (``--initial``, ``--teacher``), and which of them are refused."""

from pathlib import Path
from typing import Any

from contract.errors import UserError
from contract.model_card import ModelCard
from train.checkpoint import load_checkpoint
from train.config import Config


def load_lent(flag: str, path: Path, config: Config) -> tuple[ModelCard, dict[str, Any]]:
    """Card and state of the checkpoint that ``flag`` names.

    Raises ``UserError`` for one that the run of ``config`` would overwrite, and for a refit's where this run is none:
    it may have learned cells that are judged here.
    """
    refuse_overwritten(flag, path, config)
    card, state = load_checkpoint(path)
    if card.training.get("refit") and not config.refit:
        raise UserError(f"{flag} {path}: learned valid too (--refit): nothing would be left to judge this run by")
    return card, state


def refuse_different(flag: str, path: Path, rule: str, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ``UserError`` with ``rule`` and every value of ``then`` that is not that of ``now``, by the same names."""
    differing = [f"{name} {then[name]} -> {now[name]}" for name in now if then[name] != now[name]]
    if differing:
        raise UserError(f"{flag} {path}: {rule}, these differ: {', '.join(differing)}")


def refuse_overwritten(flag: str, path: Path, config: Config) -> None:
    """Raise ``UserError`` for a checkpoint in the folder that the run of ``config`` writes, or a link to one there.

    With it would go what the run was made of: no resumed one could start from it, or be taught by it, any more.
    """
    if (config.artifacts / config.arch).resolve() in (path.parent.resolve(), path.resolve().parent):
        raise UserError(f"{flag} {path}: lies in the folder that this run writes; choose another --artifacts")
