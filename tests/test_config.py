"""The training recipe: a bad value is one line that names its flag."""

from pathlib import Path
from typing import Any

import pytest

from contract.errors import UserError
from train.cli import _for_each_network as for_each_network
from train.config import Config, recipe_of

NAN, ENDLESS = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("lr", 0.0),
        ("lr", NAN),
        ("lr", ENDLESS),
        ("weight_decay", -0.1),
        ("weight_decay", ENDLESS),
        ("warmup_epochs", -1.0),
        ("ema_decay", 1.0),
        ("ema_decay", -0.1),
        ("label_smoothing", 1.1),
        ("affine", -0.1),
        ("affine", NAN),
        ("shift", 2.0),
        ("scale", 1.5),
        ("scale", 1.0),
        ("stain_gain", 1.01),
        ("stain_offset", -0.1),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", 10**30),
        ("workers", -1),
        ("threads", -1),
        ("threads", 1025),
        ("patience", -1),
        ("mixup", -0.2),
        ("subject_head", NAN),
        ("subject_head", -ENDLESS),
        ("cutmix", NAN),
        ("blur", 1.1),
        ("blur_sigma", 0.0),
        ("blur_sigma", 11.0),
        ("sharpen", -0.1),
        ("jpeg", 2.0),
        ("erode", -1),
        ("erode", 1025),
        ("epochs", 1_000_001),
        ("epochs", 10**30),
        ("cycles", 0),
        ("cycles", 17),
        ("teacher_share", -0.1),
        ("erase", NAN),
        ("checkpoint_every", -1.0),
    ],
)
def test_value_out_of_range_is_refused_with_its_flag(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^--{name.replace('_', '-')} {value}: must be "):
        Config(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("arch", "resnet34", "resnet18, resnet50, resnet152, all"),
        ("optimizer", "adam", "sgd, adamw"),
        ("sampling", "people", "plain, class, subject"),
        ("cache", "disk", "none, ram, device"),
        ("device", "mps", "auto, cpu, cuda"),
    ],
)
def test_a_choice_that_there_is_not_is_refused_with_those_there_are(name: str, value: str, valid: str) -> None:
    with pytest.raises(UserError, match=f"{name}: '{value}' is not one of {valid}"):
        Config(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        *({}, {"seed": 2**32 - 1}, {"ema_decay": 0.0}, {"affine": 1.0, "shift": 0.0, "label_smoothing": 0.0}),
        *({"cycles": 16}, {"threads": 1024}, {"blur_sigma": 10.0}, {"blur": 0.5, "sharpen": 0.5}, {"erode": 1024}),
        *({"epochs": 1_000_000}, {"scale": 0.0}, {"subject_head": -9.0}, {"mixup": 9.0}, {"checkpoint_every": 0.0}),
    ],
)
def test_values_at_the_edge_are_welcome(changes: dict[str, Any]) -> None:
    assert Config(**changes)


def test_shares_of_blurred_and_of_sharpened_images_exclude_each_other() -> None:
    with pytest.raises(UserError, match=r"--blur 0.7 and --sharpen 0.4: .*above 1"):
        Config(blur=0.7, sharpen=0.4)


def test_weights_to_start_from_are_of_one_network() -> None:
    # Else the first of the three would train for hours before the second is refused.
    with pytest.raises(UserError, match=r"--arch all --initial best\.pt: it is of one network"):
        Config(arch="all", initial=Path("best.pt"))


def test_recipe_holds_what_is_learned_and_not_where_or_how_fast() -> None:
    first = recipe_of(Config())
    second = recipe_of(
        Config(shards=Path("a"), artifacts=Path("b"), workers=3, device="cpu", compile=True, resume=True)
    )
    assert first == second
    assert recipe_of(Config(lr=0.1)) != first
    assert {"lr", "epochs", "seed", "amp", "start_size"} <= first.keys()
    assert all(isinstance(value, int | float | str) for value in first.values())


def test_all_stands_for_every_network_and_a_name_for_itself() -> None:
    archs = ("resnet18", "resnet50")
    assert [one.arch for one in for_each_network(Config(arch="all", lr=0.1), archs)] == list(archs)
    assert {one.lr for one in for_each_network(Config(arch="all", lr=0.1), archs)} == {0.1}
    assert for_each_network(Config(arch="resnet152"), archs) == [Config(arch="resnet152")]


@pytest.mark.parametrize(
    "changes",
    [
        *({"arch": "resnet50"}, {"initial": Path("best.pt")}, {"teacher": Path("best.pt")}, {"cache": "ram"}),
        *({"threads": 2}, {"checkpoint_every": 0.0}, {"force": True}),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_resumed_run_may_be_executed_otherwise(changes: dict[str, Any]) -> None:
    # Of the checkpoints that are lent the content counts, which Run.recipe adds.
    assert recipe_of(Config(**changes)) == recipe_of(Config())
