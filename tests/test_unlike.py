"""Warnings about images that are unlike the training cells, and the range that they come from."""

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from build_shards.preprocess import Crop, cell_mask, preprocess, read_image
from build_shards.synthetic import draw_cell
from contract.errors import UserError
from contract.manifest import Manifest
from contract.recipe import Recipe
from contract.shard_reader import SplitReader
from evaluate.unlike import FILE, TrainingRange, concerns, describe, load_range, load_ranges, measure_training

RECIPE = Recipe(size=40)


@pytest.fixture(scope="module")
def known(shards: Path, manifest: Manifest) -> TrainingRange:
    return measure_training(shards, manifest)


def _kinds(image: np.ndarray, known: TrainingRange | None, recipe: Recipe = RECIPE) -> list[str]:
    return [concern.kind for concern in concerns(image, preprocess(image, recipe, "cell"), known)]


def _cell(radius: int, colour: tuple[int, int, int], centre: tuple[int, int] = (225, 225)) -> np.ndarray:
    image = np.zeros((450, 450, 3), np.uint8)
    return cv2.circle(image, centre, radius, colour, -1)


def _middle(known: TrainingRange) -> np.ndarray:
    """A cell of the training cells' mean colour and middle size."""
    radius = round(float(np.sqrt(np.mean(known.area) / np.pi)))
    return _cell(radius, tuple(int(v) for v in np.rint(255 * np.exp(-np.array(known.density_mean)))))


def test_a_cell_like_those_of_training_raises_no_concern(known: TrainingRange) -> None:
    assert _kinds(_middle(known), known) == []


def test_the_range_holds_the_training_cells_and_is_that_of_the_raw_images(
    known: TrainingRange, shards: Path, manifest: Manifest, synthetic_data: Path
) -> None:
    reader = SplitReader(shards, manifest, "train")
    raw = [read_image(synthetic_data / reader.info(i)["source"])[0] for i in range(len(reader))]
    areas = [cell_mask(image).sum() for image in raw]
    # The crop holds a cell's pixels 7.2 times smaller: its area is that of the source but for rounding at the edge.
    assert known.area == pytest.approx((min(areas), max(areas)), rel=0.02)
    concerned = sum(bool(_kinds(image, known)) for image in raw)
    assert known.cells == len(raw) == 36
    assert concerned <= 3  # the ends of a range of 99.8 % lie inside those of so few cells


def test_measuring_twice_gives_the_same_numbers(known: TrainingRange, shards: Path, manifest: Manifest) -> None:
    assert measure_training(shards, manifest) == known


def test_a_pure_colour_is_told_although_a_channel_is_zero(known: TrainingRange) -> None:
    image = _middle(known)
    image[image.any(axis=2)] = (255, 0, 0)
    assert _kinds(image, known) == ["stain"]


def test_another_size_is_told(known: TrainingRange) -> None:
    colour = tuple(int(v) for v in _middle(known)[225, 225])
    for radius in (40, 160):
        assert _kinds(_cell(radius, colour), known) == ["size"]


def test_the_smallest_and_the_largest_size_of_the_range_are_within_it(known: TrainingRange) -> None:
    image = _middle(known)
    crop = preprocess(image, RECIPE, "cell")
    area, _ = describe(crop.image, crop.box)
    for ends in ((area, 2 * area), (area / 2, area)):
        assert _kinds(image, dataclasses.replace(known, area=ends)) == []


def test_a_box_crop_does_not_hide_the_size(known: TrainingRange) -> None:
    colour = tuple(int(v) for v in _middle(known)[225, 225])
    assert _kinds(_cell(40, colour), known, Recipe(size=40, crop="box")) == ["size"]


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 0, 1]])
def test_another_stain_is_told_even_where_each_channel_alone_would_pass(known: TrainingRange, order: list[int]) -> None:
    assert _kinds(np.ascontiguousarray(_middle(known)[:, :, order]), known) == ["stain"]


def test_several_cells_are_told_and_dust_is_not(known: TrainingRange) -> None:
    image = _middle(known)
    colour = tuple(int(v) for v in image[225, 225])
    dust = cv2.circle(image.copy(), (20, 20), 5, colour, -1)
    assert _kinds(dust, None) == ["unknown range"]
    pair = cv2.circle(_cell(60, colour, (110, 225)), (330, 225), 60, colour, -1)
    assert "several cells" in _kinds(pair, known)


def test_no_black_background_is_told_and_nothing_is_judged_beyond_it(known: TrainingRange) -> None:
    image = np.maximum(draw_cell(1, 0.0, np.random.default_rng(0)), 1)
    found = concerns(image, preprocess(image, RECIPE, "cell"), known)
    assert [concern.kind for concern in found] == ["background"]
    assert "100%" in found[0].text


def test_a_stain_that_cannot_be_normalised_is_told(known: TrainingRange) -> None:
    image = _middle(known)
    crop = dataclasses.replace(preprocess(image, RECIPE, "cell"), normalised=False)
    assert [concern.kind for concern in concerns(image, crop, known)] == ["stain"]
    small = _cell(40, tuple(int(v) for v in image[225, 225]))
    crop = dataclasses.replace(preprocess(small, RECIPE, "cell"), normalised=False)
    assert [concern.kind for concern in concerns(small, crop, known)] == ["stain", "size"]  # the one hides no other


def test_optical_density_and_area_are_those_of_the_definition() -> None:
    crop = np.zeros((40, 40, 3), np.uint8)
    crop[10:20, 10:20] = (255, 51, 1)
    area, density = describe(crop, (0, 0, 80, 80))
    assert area == 400
    assert density == pytest.approx([0, np.log(5), np.log(255)])
    assert isinstance(preprocess(np.full((50, 50, 3), 9, np.uint8), RECIPE, "x"), Crop)


def test_the_range_is_kept_and_measured_anew_for_other_shards(
    shards: Path, manifest: Manifest, known: TrainingRange, tmp_path: Path
) -> None:
    assert load_range(tmp_path, [tmp_path / "nowhere"], manifest.digest) is None
    assert load_range(tmp_path, [shards], "another digest") is None
    assert load_range(tmp_path, [shards], manifest.digest) == known
    kept = tmp_path / FILE
    assert load_range(tmp_path, [tmp_path / "nowhere"], manifest.digest) == known
    kept.write_text(kept.read_text().replace(manifest.digest, "of other shards"))
    assert load_range(tmp_path, [tmp_path / "nowhere", shards], manifest.digest) == known
    assert set(load_ranges(kept)) == {"of other shards", manifest.digest}, "networks of several recipes keep theirs"


def test_a_range_of_too_few_cells_is_refused(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluate.unlike.SplitReader", lambda *_: range(4))
    with pytest.raises(UserError, match="shards: a range needs at least 5 training cells, there are 4"):
        measure_training(Path("shards"), manifest)


def test_faults_are_named(shards: Path, manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(UserError, match=FILE):
        load_range(tmp_path, [shards], manifest.digest)
    damaged = tmp_path / "shards"
    shutil.copytree(shards, damaged)
    shard = next(damaged.glob("train-*.tar"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match="not those that the manifest lists"):
        load_range(tmp_path / "new", [damaged], manifest.digest)
    assert not (tmp_path / "new").exists()


def test_without_shards_it_is_said_that_nothing_was_judged(known: TrainingRange) -> None:
    (concern,) = concerns(_middle(known), preprocess(_middle(known), RECIPE, "cell"), None)
    assert "were not judged" in concern.text


def _squares(*places: tuple[int, int, int, int]) -> np.ndarray:
    """Grey rectangles (top, left, height, width) on 100 x 100 px of black."""
    image = np.zeros((100, 100, 3), np.uint8)
    for top, left, height, width in places:
        image[top : top + height, left : left + width] = 90
    return image


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(("length", "told"), [(40, False), (41, True)])
def test_a_cell_may_lie_on_a_tenth_of_the_image_s_edge(turns: int, length: int, told: bool) -> None:
    image = np.ascontiguousarray(np.rot90(_squares((0, 10, 60, length)), turns))
    assert ("background" in _kinds(image, None)) is told


@pytest.mark.parametrize(("place", "told"), [((60, 60, 4, 5), True), ((60, 60, 1, 19), False), ((40, 40, 9, 9), False)])
def test_a_second_region_counts_from_a_twentieth_of_the_first_and_corners_join(
    place: tuple[int, int, int, int], told: bool
) -> None:
    image = _squares((20, 20, 20, 20), place)
    found = concerns(image, preprocess(image, RECIPE, "cell"), None)
    assert ("several cells" in [concern.kind for concern in found]) is told
    if told:
        assert found[0].text == "several cells: 2 separate regions, the second 5% as large as the first"


def test_the_range_leaves_out_two_of_a_thousand(known: TrainingRange, shards: Path, manifest: Manifest) -> None:
    reader = SplitReader(shards, manifest, "train")
    described = [describe(reader.image(i), tuple(reader.info(i)["box"])) for i in range(len(reader))]
    areas = sorted(area for area, _ in described)
    step = 0.001 * (len(areas) - 1)  # half of them at each end
    ends = (areas[0] + step * (areas[1] - areas[0]), areas[-1] - step * (areas[-1] - areas[-2]))
    assert known.area == pytest.approx(ends, rel=1e-9)
    densities = np.stack([density for _, density in described])
    inverse = np.linalg.inv(np.cov(densities.T) + 1e-4 * np.eye(3))
    distances = [mahalanobis(density, densities.mean(axis=0), inverse) for density in densities]
    assert known.distance == pytest.approx(np.percentile(distances, 99.8))
    assert (known.covered, known.dataset, known.manifest_digest) == (99.8, manifest.dataset, manifest.digest)


def test_a_range_that_cannot_be_kept_is_measured_and_told(
    shards: Path, manifest: Manifest, known: TrainingRange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    artifacts = tmp_path / "file" / "artifacts"  # as in a folder that may only be read, which root may write
    assert load_range(artifacts, [shards], manifest.digest) == known
    said = capsys.readouterr().err
    assert f"note: {artifacts / FILE}: cannot be written: " in said
    assert said.endswith(": the training cells are measured again the next time\n")
