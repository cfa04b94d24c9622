"""A finished build is taken for nothing else: what its manifest says of the split counts, not only its cells."""

from dataclasses import replace
from pathlib import Path

import pytest

from build_shards.dataset import read_dataset
from build_shards.shards import build
from contract.errors import UserError
from contract.recipe import Recipe

SMALL = Recipe(size=33, window=40)


def test_another_way_of_splitting_is_refused_by_name_though_every_cell_lies_where_it_lay(
    write_course, tmp_path: Path
) -> None:
    dataset = read_dataset(write_course())
    build(dataset, SMALL, tmp_path / "shards", workers=1, force=False)
    said = rf"shards: holds shards of another split \(by {dataset.split_by}, not identity\): --force"
    with pytest.raises(UserError, match=said):
        build(replace(dataset, split_by="identity"), SMALL, tmp_path / "shards", workers=1, force=False)
