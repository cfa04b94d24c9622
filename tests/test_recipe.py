import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import UserError
from contract.recipe import MAXIMUM_SIZE, MINIMUM_SIZE, TARGET_LENGTHS, VERSIONS, Recipe


@given(
    st.sampled_from(["native", "box", "none"]),
    st.integers(MINIMUM_SIZE, 4096),
    st.integers(MINIMUM_SIZE, MAXIMUM_SIZE),
    st.one_of(st.sampled_from([("png", None), ("npy", None)]), st.tuples(st.just("jpg"), st.integers(1, 100))),
)
def test_a_recipe_survives_the_round_trip(crop: str, window: int, size: int, stored: tuple[str, int | None]):
    recipe = Recipe(crop=crop, window=window, size=size, format=stored[0], quality=stored[1])  # type: ignore[arg-type]
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_the_default_keeps_one_scale_for_all_cells():
    assert Recipe().crop == "native"


@pytest.mark.parametrize(
    ("choice", "valid"),
    [
        ({"stain": "foo"}, "none, reinhard, macenko, vahadane"),
        ({"crop": "centre"}, "native, box, none"),
        ({"format": "bmp"}, "png, jpg, npy"),
    ],
)
def test_a_choice_that_there_is_not_is_refused_with_those_there_are(choice: dict[str, str], valid: str):
    (name, value), *_ = choice.items()
    with pytest.raises(UserError, match=f"{name}: '{value}' is not one of {valid}"):
        Recipe(**choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [MINIMUM_SIZE - 1, 0, -112, MAXIMUM_SIZE + 1])
def test_a_size_out_of_bounds_is_refused_with_the_bounds(size: int):
    with pytest.raises(UserError, match=rf"size {size}: must be between {MINIMUM_SIZE} and {MAXIMUM_SIZE} px"):
        Recipe(size=size)


def test_the_bounds_are_welcome():
    for window, size in ((MINIMUM_SIZE, MINIMUM_SIZE), (4096, MAXIMUM_SIZE)):
        assert (Recipe(window=window, size=size).window, Recipe(window=window, size=size).size) == (window, size)


@pytest.mark.parametrize("stain", TARGET_LENGTHS)
def test_a_target_of_another_length_is_refused(stain: str):
    length = TARGET_LENGTHS[stain]
    assert len(Recipe(stain=stain, target=(1.0,) * length).target) == length  # type: ignore[arg-type]
    for other in {length - 1, length + 1} - {-1, 0}:
        with pytest.raises(UserError, match=rf"stain target of {other} numbers: {stain} has {length}"):
            Recipe(stain=stain, target=(1.0,) * other)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [MINIMUM_SIZE - 1, 0, 4097])
def test_a_window_out_of_bounds_is_refused_with_the_bounds(window: int):
    with pytest.raises(UserError, match=rf"window {window}: must be between {MINIMUM_SIZE} and 4096 px"):
        Recipe(window=window)


@pytest.mark.parametrize("quality", [None, 0, 101, -5])
def test_jpg_without_a_quality_is_refused(quality: int | None):
    with pytest.raises(UserError, match=rf"quality {quality}: the format jpg needs one from 1 to 100"):
        Recipe(format="jpg", quality=quality)


@pytest.mark.parametrize("stored", ["png", "npy"])
def test_a_quality_of_a_lossless_format_is_refused(stored: str):
    with pytest.raises(UserError, match=f"quality 90: the format {stored} has none, only jpg does"):
        Recipe(format=stored, quality=90)  # type: ignore[arg-type]


@pytest.mark.parametrize("stain", VERSIONS)
def test_a_recipe_of_another_version_is_refused(stain: str):
    made = VERSIONS[stain]
    assert Recipe(stain=stain).version == made  # type: ignore[arg-type]
    for other in (made - 1 or -1, made + 1):
        with pytest.raises(
            UserError, match=rf"recipe version {other}: of stain {stain} this code makes version {made};.* FORCE=1\)"
        ):
            Recipe(stain=stain, version=other)  # type: ignore[arg-type]


def test_a_file_says_its_version_and_a_version_of_nothing_is_none():
    data = dataclasses.asdict(Recipe(stain="macenko"))
    assert data["version"] == VERSIONS["macenko"]
    for version, rule in ((1, "of stain macenko this code makes version 2"), (None, "version"), (True, "version")):
        with pytest.raises(UserError, match=rule):
            Recipe.from_json(json.dumps(data | {"version": version}))


def test_an_unknown_crop_in_a_file_is_refused_and_the_valid_ones_listed():
    data = dataclasses.asdict(Recipe()) | {"crop": "tight"}
    with pytest.raises(UserError, match=r"card\.recipe\.crop: 'tight' is not one of native, box, none"):
        Recipe.from_json(json.dumps(data), "card.recipe")


def test_an_unknown_key_in_a_file_is_refused():
    data = dataclasses.asdict(Recipe()) | {"zoom": 2}
    with pytest.raises(
        UserError, match="unknown key 'zoom': valid are stain, target, crop, window, size, format, quality, version"
    ):
        Recipe.from_json(json.dumps(data))


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().size = 64  # type: ignore[misc]
