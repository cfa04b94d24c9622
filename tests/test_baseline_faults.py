"""The baseline: cells of several folds are not taken for one another; what it refuses."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.errors import UserError
from contract.manifest import load_manifest
from train.baseline import Config, main, run
from train.baseline_scores import Scored, score


def _cells(identities: tuple[str | None, ...]) -> Scored:
    ids = tuple(map(str, range(len(identities))))
    return Scored(ids, ids, identities, identities, np.array([0, 1]), np.array([0.2, 0.7]))


def test_cells_of_nobody_in_different_folds_are_different_cells() -> None:
    # Every fold counts its cells from 0.
    parts = [_cells((None, "A")), _cells((None, "B"))]
    together = Scored.joined(parts, [1, 2])
    assert together.keys == ("fold1-0", "fold1-1", "fold2-0", "fold2-1")
    people = score(together, 100).by_people
    assert people is not None
    assert people.people == 4
    assert Scored.joined(parts[:1], [1]) is parts[0]


@pytest.mark.parametrize("changes", [{"seed": 5_000_000_000}, {"seed": -1}, {"resamples": 99}])
def test_a_seed_or_a_number_of_resamples_out_of_range_is_refused(shards: Path, tmp_path: Path, changes: dict) -> None:
    (name, value), *_ = changes.items()
    with pytest.raises(UserError, match=f"^--{name} {value}: must be "):
        run(Config(shards=(shards,), artifacts=tmp_path / "out", **changes))


def test_shards_whose_valid_split_is_empty_are_refused(shards: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    manifest = load_manifest(folder)
    splits = tuple(replace(split, samples=0) if split.name == "valid" else split for split in manifest.splits)
    (folder / "manifest.json").write_text(replace(manifest, splits=splits).to_json())
    with pytest.raises(UserError, match="'valid' is empty"):
        run(Config(shards=(folder,), artifacts=tmp_path / "out", resamples=100))


def test_no_folder_of_shards_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As `make baseline SHARDS=` gives it.
    monkeypatch.setattr("sys.argv", ["train", "baseline", "--shards", "--artifacts", str(tmp_path / "out")])
    with pytest.raises(UserError, match=r"^--shards: name at least one folder of shards$"):
        main()
    assert not (tmp_path / "out").exists()


def test_a_changed_shard_is_refused(shards: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shards, tmp_path / "shards")
    with (folder / "train-000000.tar").open("r+b") as file:
        file.seek(700)
        file.write(b"x")
    with pytest.raises(UserError, match=r"train-000000\.tar"):
        run(Config(shards=(folder,), artifacts=tmp_path / "out", resamples=100))
    assert not (tmp_path / "out").exists()


def test_what_an_older_run_left_and_cannot_be_removed_is_named(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "baseline" / "predictions_old.csv").mkdir(parents=True)
    with pytest.raises(UserError, match=r"predictions_old\.csv: cannot be removed: "):
        run(Config(shards=(shards,), artifacts=tmp_path, resamples=100))
