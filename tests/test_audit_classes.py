"""What the audit says of classes: labels that contradict each other, and cells far from those of their own class."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build_shards.audit import _far, _outliers, audit
from build_shards.dataset import Cell, read_dataset
from build_shards.fingerprint import PATCH, Fingerprint


def of_far_size(normal: list[int], blast: list[int]) -> list[str]:
    """The sources of the cells whose size is far from their class's: "0" and place of a normal, "1" of a blast."""
    places = [(label, place) for label, sizes in enumerate((normal, blast)) for place in range(len(sizes))]
    cells = [Cell(Path(f"{label}{place}"), f"{label}{place}", "train", label, None) for label, place in places]
    sizes = np.array([*normal, *blast], float)
    return [outlier.source for outlier in _far("size", cells, sizes, sizes)]


def test_a_twin_whose_label_is_hidden_contradicts_no_label(write_course) -> None:
    dataset = read_dataset(write_course())
    hidden = replace(dataset.cells[1], source="./cells/twin.bmp", split="test", label=None)
    assert dataset.cells[1].label is not None
    result = audit(replace(dataset, cells=(*dataset.cells, hidden)), workers=1)
    assert any(twin.identical for twin in result.twins)
    assert result.label_conflicts == 0


def test_a_cell_is_compared_with_its_own_class_alone() -> None:
    # A normal cell of 205 px is as large as the blasts, and far larger than any other normal cell.
    normal, blast = [*range(100, 112), 205], list(range(200, 212))
    assert of_far_size(normal, blast) == ["012"]


def test_a_class_of_fewer_than_ten_cells_has_no_outliers() -> None:
    assert of_far_size([*range(100, 108), 900], []) == []
    assert of_far_size([*range(100, 109), 900], []) == ["09"]


def test_outliers_come_kind_by_kind_the_farthest_first_half_and_double_as_far() -> None:
    areas = [*(1000 + 4 * i for i in range(-6, 7)), 500, 2000, 8000]
    densities = [*(1 + i / 1000 for i in range(-6, 7)), 1.0, 1.0, 3.0]
    cells = [Cell(Path(), f"{i:02d}", "train", 0, None) for i in range(16)]
    nothing = np.zeros((PATCH, PATCH), np.uint8)
    prints = [Fingerprint("", area, density, nothing) for area, density in zip(areas, densities, strict=True)]
    found = _outliers(cells, prints)
    assert [(one.kind, one.source, one.value) for one in found] == [
        *(("size", "15", 8000.0), ("size", "13", 500.0), ("size", "14", 2000.0), ("stain", "15", 3.0)),
    ]
    away = np.log(areas) - np.median(np.log(areas))
    z = 0.6745 * away / np.median(np.abs(away))
    assert [one.z for one in found[:3]] == pytest.approx([z[15], z[13], z[14]], abs=0.01)
    assert found[1].z == pytest.approx(-found[2].z, rel=0.02)


@pytest.mark.parametrize(("size", "far"), [(121, []), (122, ["012"]), (90, []), (89, ["012"])])
def test_far_is_beyond_three_and_a_half_robust_deviations(size: int, far: list[str]) -> None:
    # Of 100 to 111 px and a larger one the median is 106 (a smaller one: 105), the median deviation 3: 0.2248 a px.
    assert of_far_size([*range(100, 112), size], []) == far
