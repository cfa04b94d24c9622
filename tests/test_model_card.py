"""The model card: what it refuses, and that it comes back as it was."""

from dataclasses import replace
from typing import Any

import pytest

from contract.errors import UserError
from contract.model_card import ModelCard, settings_of
from contract.recipe import Recipe


def test_card_comes_back_from_json_as_it_was(card: ModelCard) -> None:
    full = replace(card, intervals={"valid_accuracy": (0.4, 0.6)}, calibration=("a", "b"), verification={"x": 1e-6})
    assert ModelCard.from_json(full.to_json()) == full


def test_checkpoint_is_neither_calibrated_nor_given_an_operating_point(card: ModelCard) -> None:
    assert (card.variant, card.temperature, card.threshold) == ("checkpoint", 1.0, 0.5)
    assert card.operating_point == "default 0.5"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('"format": 2', '"format": 1', "format 1: this code reads format 2: train and export the network anew"),
        ('"temperature": 1.0', '"temperature": 0.0', "temperature 0.0: must be above zero"),
        ('"threshold": 0.5', '"threshold": 1.5', "threshold 1.5: must be between 0 and 1"),
        ('"temperature": 1.0', '"temperature": 1e999', "temperature inf"),
        ('"variant": "checkpoint"', '"variant": "int4"', "'int4' is not one of checkpoint, float32, int8, raw"),
    ],
)
def test_damaged_card_is_refused(card: ModelCard, old: str, new: str, rule: str) -> None:
    text = card.to_json()
    assert old in text
    with pytest.raises(UserError, match=rule):
        ModelCard.from_json(text.replace(old, new))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [({"classes": ("blast",)}, "classes .*: must be two names"), ({"std": (1.0, 0.0, 1.0)}, "std above zero")],
)
def test_card_of_no_network_of_ours_is_refused(card: ModelCard, changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        replace(card, **changes)


def test_a_threshold_of_one_is_refused(card: ModelCard) -> None:
    with pytest.raises(UserError, match="threshold"):
        replace(card, threshold=1.0)


def test_a_threshold_of_zero_is_refused(card: ModelCard) -> None:
    with pytest.raises(UserError, match="threshold"):
        replace(card, threshold=0.0)


def test_a_variant_that_there_is_not_is_refused_of_python_too(card: ModelCard) -> None:
    with pytest.raises(UserError, match=r"^variant: 'int4' is not one of"):
        replace(card, variant="int4")  # type: ignore[arg-type]


def test_settings_that_came_later_are_those_of_every_training_before_them(card: ModelCard) -> None:
    def settings(**training: object) -> dict[str, Any]:
        return settings_of(vars(replace(card, training={"lr": 0.05} | training)))

    then = {"initial": "", "group_dro": 0.0, "subject_head": 0.0, "teacher": "", "teacher_share": 0.75}
    now = {"initial": "x", "group_dro": 0.1, "subject_head": 0.5, "teacher": "x", "teacher_share": 0.5}
    then, now = then | {"colours": False}, now | {"colours": True}
    assert settings() == settings(**then) == settings(**then, refit=True)
    for name, value in now.items():
        assert settings(**{name: value}) == settings() | {name: value}


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": "resnet50"},
        {"classes": ("HEM", "ALL")},
        {"recipe": Recipe(size=40, crop="box")},
        {"seed": 1},
        {"manifest_digest": "b" * 64},
    ],
)
def test_what_else_a_refit_and_its_counterpart_share(card: ModelCard, changes: dict[str, Any]) -> None:
    ((name, value),) = changes.items()
    assert settings_of(vars(replace(card, **changes))) == settings_of(vars(card)) | {name: value}
    assert settings_of(vars(card))[name] != value


def test_a_temperature_without_end_is_refused_where_no_file_said_it(card: ModelCard):
    with pytest.raises(UserError, match="temperature inf: must be above zero"):
        replace(card, temperature=float("inf"))
