"""The audit finds two images of one cell, and does not take two cells for one."""

import csv
import dataclasses
import functools
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from build_shards.audit import Audit, audit
from build_shards.audit_report import print_audit, telling, write_audit
from build_shards.dataset import Cell, Dataset, read_dataset
from build_shards.fingerprint import fingerprint
from build_shards.people import name_people
from build_shards.synthetic import draw_cell
from build_shards.twins import TWIN, Chance, compare, find_twins
from contract.errors import UserError
from contract.record import from_json, to_json

CELLS = 6  # drawn cells of which each gets every change
SMALL = 225  # px: side of the images of tests that draw many


@functools.cache
def _cell(seed: int, side: int = 450) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return draw_cell(seed % 2, float(rng.normal()), rng, side)


def _brightness(image: np.ndarray, factor: float) -> np.ndarray:
    mask = image.any(axis=2, keepdims=True)
    return (np.clip(np.rint(image * factor), 1, 255) * mask).astype(np.uint8)


def _jpeg(image: np.ndarray) -> np.ndarray:
    again = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)
    return np.maximum(again, 1) * image.any(axis=2, keepdims=True).astype(np.uint8)


def _eroded(image: np.ndarray, pixels: int) -> np.ndarray:
    mask = image.any(axis=2).astype(np.uint8)
    return image * cv2.erode(mask, np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8))[..., None]


def _half_edge(image: np.ndarray) -> np.ndarray:
    """Another mask: 12 px of the cell's left side are gone, so that its centre moves."""
    left = int(np.flatnonzero(image.any(axis=(0, 2)))[0])
    return np.where(np.arange(image.shape[1])[None, :, None] < left + 12, 0, image).astype(np.uint8)


CHANGES = {
    "darker": lambda image: _brightness(image, 0.85),
    "brighter": lambda image: _brightness(image, 1.2),
    "shifted": lambda image: np.roll(image, (5, -7), (0, 1)),
    "jpeg": _jpeg,
    "eroded 2 px": lambda image: _eroded(image, 2),
    "eroded 3 px": lambda image: _eroded(image, 3),
    "another edge": _half_edge,
    "one turn": lambda image: np.rot90(image, 1),
    "two turns": lambda image: np.rot90(image, 2),
    "three turns": lambda image: np.rot90(image, 3),
    "all": lambda image: np.rot90(np.roll(_eroded(_jpeg(_brightness(image, 0.85)), 2), (3, 4), (0, 1))),
}


def _write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(image[:, :, ::-1]))
    return path


def _dataset(cells: list[Cell]) -> Dataset:
    return Dataset("drawn", "course", "given", tuple(cells), ())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 different drawn cells at half the size, 0.bmp to 149.bmp. Read only."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed in range(150):
        _write(folder / f"{seed}.bmp", _cell(seed, SMALL))
    return folder


@pytest.fixture(scope="module")
def people(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Cells 0-23, one or two a subject id; ids A=B (two pairs), B=C (one identical file); a test cell seen in train."""
    folder = tmp_path_factory.mktemp("people")
    cells = [
        Cell(drawn / f"{i}.bmp", f"{i}.bmp", "train" if i < 18 else "valid", i % 2, f"S{i // 2}") for i in range(24)
    ]
    for i in (0, 1):
        cells[i] = dataclasses.replace(cells[i], subject="A")
        copy = _write(folder / f"again{i}.bmp", CHANGES["all"](_cell(i, SMALL)))
        cells.append(Cell(copy, f"again{i}.bmp", "train", i, "B"))
    cells[2] = dataclasses.replace(cells[2], subject="B")
    shutil.copy(drawn / "2.bmp", folder / "same.bmp")
    cells.append(Cell(folder / "same.bmp", "same.bmp", "valid", 0, "C"))
    near = _write(folder / "near.bmp", CHANGES["darker"](_cell(5, SMALL)))
    return _dataset([*cells, Cell(near, "near.bmp", "test", None, None)])


@pytest.fixture(scope="module")
def audited(people: Dataset) -> Audit:
    return audit(people, workers=1)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_image_of_a_cell_is_its_twin(change: str, tmp_path: Path) -> None:
    images = [_cell(seed) for seed in range(CELLS)]
    prints = [fingerprint(_write(tmp_path / f"{i}.bmp", image)) for i, image in enumerate(images)]
    prints += [fingerprint(_write(tmp_path / f"{i}b.bmp", CHANGES[change](image))) for i, image in enumerate(images)]
    matches, _ = find_twins(prints, workers=1)
    assert [(m.first, m.second) for m in matches] == [(i, i + CELLS) for i in range(CELLS)]
    assert not any(match.identical for match in matches)
    turns = {"one turn": 1, "two turns": 2, "three turns": 3, "all": 1}.get(change, 0)
    assert {match.turns for match in matches} == {turns}


def test_150_different_cells_have_no_twins(drawn: Path) -> None:
    matches, chance = find_twins([fingerprint(drawn / f"{i}.bmp") for i in range(150)], workers=1)
    assert matches == []
    assert chance.pairs == 150 * 149 // 2
    assert chance.mirrored_twins == 0
    assert chance.highest < TWIN


def test_no_two_of_16_cells_pass_the_verification_itself(drawn: Path) -> None:
    patches = [fingerprint(drawn / f"{i}.bmp").patch for i in range(16)]
    highest = max(compare(a, b, 0, False) for i, a in enumerate(patches) for b in patches[i + 1 :])
    assert highest < TWIN


def test_identical_files_are_said_to_be_identical(audited: Audit) -> None:
    same = [twin for twin in audited.twins if twin.identical]
    assert [(t.first, t.second, t.correlation, t.turns) for t in same] == [("2.bmp", "same.bmp", 1.0, 0)]


def test_ids_are_joined_transitively(audited: Audit) -> None:
    assert audited.identities == (("A", "B", "C"),)
    assert name_people(audited.identities) == dict.fromkeys("ABC", "A+B+C")
    (ab, bc) = audited.links
    assert (ab.first, ab.second, ab.identical, ab.near, ab.joined) == ("A", "B", 0, 2, True)
    assert (bc.first, bc.second, bc.identical, bc.near, bc.chance) == ("B", "C", 1, 0, 0.0)
    assert TWIN <= ab.lowest <= ab.median <= ab.highest <= 1


def test_splits_are_compared_with_train_by_cell_by_id_and_by_person(audited: Audit) -> None:
    train, valid, test = audited.splits
    assert (train.name, train.cells, train.normal, train.blast, train.twins_inside) == ("train", 20, 10, 10, 4)
    assert (train.subjects_in_train, train.twins_in_train) == (0, 0)
    assert (valid.subjects_in_train, valid.people_in_train) == (0, 1)  # C is B
    assert (valid.identical_in_train, valid.twins_in_train) == (1, 1)
    assert (test.cells, test.subjects, test.identical_in_train, test.twins_in_train) == (1, 0, 0, 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_result_depends_on_neither_order_nor_workers(people: Dataset, audited: Audit, workers: int) -> None:
    turned = dataclasses.replace(people, cells=people.cells[::-1])
    assert to_json(audit(turned, workers)) == to_json(audited)


def test_what_is_written_can_be_read_back(
    audited: Audit, people: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audit(audited, people, tmp_path / "audit")
    assert sorted(p.name for p in (tmp_path / "audit").iterdir()) == ["audit.json", "twins.csv", "twins.png"]
    assert from_json(Audit, (tmp_path / "audit" / "audit.json").read_text(), "audit.json") == audited
    rows = list(csv.DictReader((tmp_path / "audit" / "twins.csv").read_text().splitlines()))
    assert [row["first"] for row in rows] == [twin.first for twin in audited.twins]
    assert cv2.imread(str(tmp_path / "audit" / "twins.png")).shape[1] > 1500
    print_audit(audited)
    assert "A = B = C" in capsys.readouterr().out


def test_an_audit_that_breaks_off_leaves_the_earlier_one_whole(
    audited: Audit, people: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("audit.json", "twins.csv", "twins.png")
    for name in names:
        (tmp_path / name).write_text("earlier")
    monkeypatch.setattr("build_shards.audit_report.draw_twins", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_audit(audited, people, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "earlier")


def test_the_picture_shows_the_weakest_pair_of_every_two_ids(audited: Audit) -> None:
    shown = telling(audited)
    assert len(shown) == len(set(shown)) == len(audited.twins)
    assert {shown[0].first_subject, shown[0].second_subject} == {"A", "B"}


def test_course_layout_without_subjects_counts_twins_of_test_in_train(
    synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(synthetic_data, tmp_path / "data")
    (folder / "subjects.csv").unlink()
    for number, change in enumerate(("darker", "one turn", "eroded 3 px")):
        train = cv2.imread(str(folder / f"synthetic/train/{number}.bmp"))[:, :, ::-1]
        _write(folder / f"synthetic/test/{number}.bmp", CHANGES[change](train))
    shutil.copy(folder / "synthetic/train/9.bmp", folder / "synthetic/test/9.bmp")
    result = audit(read_dataset(folder), workers=1)
    test = next(split for split in result.splits if split.name == "test")
    assert (test.twins_in_train, test.identical_in_train, test.subjects) == (4, 1, 0)
    assert (result.links, result.identities) == ((), ())
    print_audit(result)
    assert "4 twins" in capsys.readouterr().out


def test_a_cell_of_another_size_or_stain_is_an_outlier(drawn: Path, tmp_path: Path) -> None:
    cells = [Cell(drawn / f"{i}.bmp", f"{i}.bmp", "train", 0, None) for i in range(0, 60, 2)]
    small, pale = np.zeros((SMALL, SMALL, 3), np.uint8), _cell(0, SMALL)
    small[100:112, 100:112] = _cell(2, SMALL)[106:118, 106:118]
    pale = (np.where(pale > 0, 255 - (255 - pale.astype(int)) // 5, 0)).astype(np.uint8)
    cells.append(Cell(_write(tmp_path / "small.bmp", small), "small.bmp", "train", 0, None))
    cells.append(Cell(_write(tmp_path / "pale.bmp", pale), "pale.bmp", "train", 0, None))
    found = {(o.source, o.kind): o.z for o in audit(_dataset(cells), workers=1).outliers}
    assert found[("small.bmp", "size")] < -5
    assert found[("pale.bmp", "stain")] < -5


def test_twins_with_two_labels_are_counted(drawn: Path) -> None:
    cells = [Cell(drawn / "0.bmp", f"{label}.bmp", "train", label, None) for label in (0, 1)]
    assert audit(_dataset(cells), workers=1).label_conflicts == 1


def test_an_image_of_background_stops_the_audit_with_its_name(tmp_path: Path) -> None:
    file = _write(tmp_path / "black.bmp", np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(UserError, match=r"black\.bmp: all background"):
        audit(_dataset([Cell(file, "black.bmp", "train", 0, None)]), workers=1)


def test_uniform_and_tiny_cells_have_no_texture_and_no_twins(write_course) -> None:
    result = audit(read_dataset(write_course()), workers=1)
    assert result.twins == ()
    json.loads(to_json(result))


def test_chance_falls_with_the_correlation() -> None:
    chance = Chance(pairs=1000, mirrored_twins=0, highest=0.8, start=0.9, count=50, scale=0.1)
    values = [chance.expected(r) for r in (0.7, 0.8, 0.9, 0.95, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 50  # below the tail's start nothing is claimed
    assert values[-1] == 1e-6
