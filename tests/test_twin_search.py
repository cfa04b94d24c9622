"""A search for twins is kept for the very same images and code, and is otherwise made anew."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from build_shards import twin_search
from build_shards.dataset import Cell
from build_shards.synthetic import draw_cell
from build_shards.twin_search import TwinSearch, search_twins
from contract.errors import UserError


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    """Six drawn cells; 5 is 0 again, half a turn round."""
    folder, rng = tmp_path / "cells", np.random.default_rng(0)
    folder.mkdir()
    for number in range(5):
        assert cv2.imwrite(str(folder / f"{number}.bmp"), draw_cell(number % 2, 0.0, rng, 160))
    again = np.ascontiguousarray(np.rot90(cv2.imread(str(folder / "0.bmp")), 2))
    assert cv2.imwrite(str(folder / "5.bmp"), again)
    return [Cell(folder / f"{i}.bmp", f"{i}.bmp", "train", 0, None) for i in range(6)]


@pytest.fixture
def kept(cells: list[Cell], tmp_path: Path) -> Path:
    """A folder that keeps the search of ``cells``."""
    search_twins(cells, 1, tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every search that is made."""
    made, find = [], twin_search.find_twins

    def counted(prints, workers):
        made.append(len(prints))
        return find(prints, workers)

    monkeypatch.setattr(twin_search, "find_twins", counted)
    return made


def _pairs(search: TwinSearch) -> list[tuple[int, int]]:
    return [(match.first, match.second) for match in search.matches]


def test_the_same_images_are_searched_once(cells: list[Cell], tmp_path: Path, searches: list[int]) -> None:
    first = search_twins(cells, 1, tmp_path / "cache")
    again = search_twins(cells[::-1], 2, tmp_path / "cache")
    assert (_pairs(first), again, searches) == ([(0, 5)], first, [6])


def test_without_a_folder_nothing_is_kept(cells: list[Cell], tmp_path: Path, searches: list[int]) -> None:
    assert search_twins(cells, 1, None) == search_twins(cells, 1, None)
    assert (searches, [path.name for path in tmp_path.iterdir()]) == ([6, 6], ["cells"])


def test_another_image_of_the_same_size_is_another_search(cells: list[Cell], kept: Path, searches: list[int]) -> None:
    size = cells[5].file.stat()
    shutil.copy(cells[1].file, cells[5].file)  # as many bytes, another cell
    assert cells[5].file.stat().st_size == size.st_size
    assert (_pairs(search_twins(cells, 1, kept)), searches) == ([(1, 5)], [6])


def test_a_renamed_or_a_missing_image_is_another_search(cells: list[Cell], kept: Path, searches: list[int]) -> None:
    renamed = [*cells[:5], Cell(cells[5].file, "00.bmp", "train", 0, None)]
    assert _pairs(search_twins(renamed, 1, kept)) == [(0, 1)]
    assert _pairs(search_twins(cells[:5], 1, kept)) == []
    assert searches == [6, 5]


@pytest.mark.parametrize("name", ["opencv-python", "numpy"])
def test_another_library_is_another_search(
    cells: list[Cell], kept: Path, searches: list[int], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    version = twin_search.version
    monkeypatch.setattr(twin_search, "version", lambda asked: "0.0" if asked == name else version(asked))
    assert _pairs(search_twins(cells, 1, kept)) == [(0, 5)]
    assert searches == [6]


@pytest.mark.parametrize("name", ["twins.py", "fingerprint.py", "image_file.py", "preprocess.py"])
def test_another_threshold_in_the_code_is_another_search(
    cells: list[Cell], kept: Path, searches: list[int], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file_sha256 = twin_search.file_sha256
    monkeypatch.setattr(twin_search, "file_sha256", lambda path: file_sha256(path) + "x" * (path.name == name))
    search_twins(cells, 1, kept)
    assert searches == [6]


@pytest.mark.parametrize("damage", ["cut", "empty", "altered", "another key", "not text"])
def test_a_damaged_search_is_made_anew_and_mended(
    cells: list[Cell], kept: Path, searches: list[int], damage: str
) -> None:
    (path,) = kept.iterdir()
    whole = path.read_bytes()
    record = json.loads(whole)
    record["search"]["matches"][0]["second"] = 4
    altered = json.dumps(record, indent=2).encode() + b"\n"
    bad = {"cut": whole[:-20], "empty": b"", "altered": altered, "not text": b"\xff" + whole}
    path.write_bytes(bad.get(damage, whole.replace(record["key"].encode(), b"0" * 64)))
    assert (_pairs(search_twins(cells, 1, kept)), searches) == ([(0, 5)], [6])
    assert path.read_bytes() == whole


def test_an_unreadable_image_stops_the_search_or_has_no_twins(
    cells: list[Cell], tmp_path: Path, searches: list[int]
) -> None:
    cells[2].file.write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"2\.bmp: not a BMP or PNG image"):
        search_twins(cells, 1, tmp_path / "cache")
    for _ in range(2):
        assert _pairs(search_twins(cells, 1, tmp_path / "cache", skip_bad=True)) == [(0, 5)]
    assert searches == [5]
