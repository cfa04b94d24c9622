"""What a setting of an ablation means: its recipe, its training, and names that carry everything which decides them."""

import json
import re
import typing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from contract.errors import UserError
from contract.model_card import YOUNGER
from contract.publish import text_sha256
from contract.recipe import Recipe
from train.config import Config, recipe_of

# A short training, exact augmentation only: what every setting is compared with, whatever the defaults have become.
BASE: dict[str, Any] = {
    "standardise": False,
    "colours": False,
    "stain_gain": 0.1,
    "stain_offset": 0.05,
    "batch_size": 64,
    "subject_head": 0.0,
    "affine": 0.0,
    "blur": 0.0,
    "sharpen": 0.0,
    "start_size": 0,
    "ema_decay": 0.99,
    "warmup_epochs": 1.0,
}
BASELINE, TREES = "baseline", "trees"  # the classical baseline's row of the table, and its "network" in names
TOGETHER = "+"  # between settings (or a setting and the baseline): the mean of their probabilities
LONGEST = 241  # bytes of a file's name, 255, less those of the temporary name that it is written under
OLD_FOLDS = 2  # of files named before names said how many folds there are
NAME = re.compile(
    r"(?P<setting>.+)-(?P<arch>resnet\d+|trees)-(?P<size>\d+)px-e(?P<epochs>\d+)"
    r"(?:-(?P<folds>\d+)folds-(?P<definition>[0-9a-f]{8}))?-s(?P<seed>\d+)-f(?P<fold>\d+)\.csv"
)
# Where a run lies, how it is executed, and what the command decides for all settings: none of it is a setting.
NOT_SET = {
    "shards",
    "artifacts",
    "initial",
    "teacher",
    "refit",  # would learn the cells that are held out
    "patience",  # would stop by them
    "seed",
    "workers",
    "cache",
    "device",
    "threads",
    "compile",
    "checkpoint_every",
    "resume",
    "force",
}
NOT_SET |= {"target", "version"}
KINDS = {k: v for kind in (Recipe, Config) for k, v in typing.get_type_hints(kind).items() if k not in NOT_SET}
OF_RECIPE = frozenset(typing.get_type_hints(Recipe))


@dataclass(frozen=True)
class Network:
    """One network of an ablation: a setting, a seed and the fold that is held out."""

    setting: str
    recipe: Recipe
    config: Config  # with the seed; its folders are those below
    data: str  # SHA-256 of the labelled cells
    folds: int
    fold: int  # 1 to ``folds``
    out: Path  # of the ablation
    lender: "Network | None" = None  # of the same seed and fold: its last averaged weights are those to start from

    @property
    def definition(self) -> str:
        """Eight hex digits over everything that decides the results, defaults included, but the seed and the fold.

        Of fields younger than that rule, defaults are not: names of finished networks stay what they were.
        """
        decided = recipe_of(self.config).items()
        training = {k: v for k, v in decided if k != "seed" and YOUNGER.get(k) != v} | {"arch": self.config.arch}
        if self.lender is not None:
            training["initial"] = self.lender.definition
        return _digest(self.data, self.folds, self.recipe, training)

    @property
    def name(self) -> str:
        config = self.config
        return f"{self.setting}-{config.arch}-{self.recipe.size}px-e{config.epochs}-{self._held(self.definition)}"

    @property
    def file(self) -> Path:
        """Its predictions."""
        return self.out / f"{self.name}.csv"

    @property
    def baseline_file(self) -> Path:
        """Predictions of the classical baseline on this network's shards."""
        definition = _digest(self.data, self.folds, self.recipe, {})
        return self.out / f"{BASELINE}-{TREES}-{self.recipe.size}px-e0-{self._held(definition)}.csv"

    @property
    def shards(self) -> Path:
        """The folder of its shards, which settings of one recipe share."""
        recipe, definition = self.recipe, _digest(self.data, self.folds, self.recipe, {})
        name = f"{recipe.stain}-{recipe.crop}-{recipe.window}-{recipe.size}px-{self._held(definition)}"
        return self.out / "shards" / name

    @property
    def training(self) -> Config:
        """What ``train`` is given."""
        initial = self.lender.lent if self.lender is not None else None
        folder = self.out / "runs" / self.name
        return replace(self.config, shards=self.shards, artifacts=folder, initial=initial, force=True)

    @property
    def checkpoint(self) -> Path:
        return self.training.artifacts / self.config.arch / "last.pt"

    @property
    def lent(self) -> Path:
        """Its last averaged weights alone, for a network that starts from them; ``best.pt`` is chosen by the fold."""
        return self.checkpoint.with_name("lent.pt")

    def _held(self, definition: str) -> str:
        return f"{self.folds}folds-{definition}-s{self.config.seed}-f{self.fold}"


def short_enough(network: Network) -> Network:
    """The network, unless its results could not be written because their file's name is too long."""
    if len(network.file.name.encode()) > LONGEST:
        raise UserError(
            f"--settings {network.setting}: {network.file.name} has more than {LONGEST} bytes, too long for a file: "
            "leave out what every setting has anyway (BASE in benchmarks/ablation_settings.py)"
        )
    return network


def _digest(*parts: Any) -> str:
    return text_sha256(json.dumps(parts, default=vars, sort_keys=True))[:8]


def configured(setting: str, arch: str, size: int, epochs: int, seed: int = 0) -> tuple[Recipe, Config]:
    """The recipe and the training of a setting, which may set ``arch``, ``size`` and ``epochs`` too.

    Raises ``UserError`` naming the setting for a field or a value that there is not.
    """
    found = chosen(setting)
    try:
        recipe = Recipe(**{"size": size, **{k: v for k, v in found.items() if k in OF_RECIPE}})
        training = {k: v for k, v in found.items() if k not in OF_RECIPE}
        config = Config(**{**BASE, "arch": arch, "epochs": epochs, **training}, seed=seed)
    except UserError as error:
        raise UserError(f"--settings {setting}: {error}") from None
    if config.arch == "all":
        raise UserError(f"--settings {setting}: arch=all is several networks: name one")
    return recipe, config


def chosen(setting: str) -> dict[str, Any]:
    """The fields in "stain=macenko,blur=0.2"; raises ``UserError`` for an unknown field, or a value not of its kind."""
    found: dict[str, Any] = {}
    for part in setting.split(","):
        name, _, text = part.partition("=")
        if name not in KINDS:
            raise UserError(f"--settings {setting}: no field {name!r} to set: there are {', '.join(KINDS)}")
        if name in found:
            raise UserError(f"--settings {setting}: {name} comes twice")
        found[name] = _value(KINDS[name], text, f"--settings {setting}: {name}={text}")
    return found


def _value(kind: Any, text: str, where: str) -> Any:
    """``text`` as a bool, one of a ``Literal``, an int or a float (of ``int | None``: an int)."""
    allowed = ("True", "False") if kind is bool else typing.get_args(kind) if _is_literal(kind) else None
    if allowed is not None:
        if text not in allowed:
            raise UserError(f"{where}: must be one of {', '.join(allowed)}")
        return text == "True" if kind is bool else text
    kind = next(iter(typing.get_args(kind)), kind)
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{where}: must be a {'whole ' if kind is int else ''}number") from None


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is Literal
