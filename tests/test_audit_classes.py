"""What the audit says of classes: labels that contradict each other, and cells far from those of their own class."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from build_shards.audit import _far, audit
from build_shards.dataset import Cell, read_dataset


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
