"""A run's folder: another run at work there, what a killed one left, and what is no file or is gone."""

import errno
import fcntl
import os
import shutil
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
from as_nobody import as_nobody
from equality import assert_equal
from small_network import config_of

import train.loop
from contract.errors import UserError
from contract.shard_reader import SplitReader
from train.checkpoint import load_checkpoint, save_checkpoint
from train.config import Config
from train.data import train_batches
from train.lock import locked_run
from train.loop import train as train_network
from train.run import Run
from train.scores import Scores

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture
def artifacts(finished: Path, tmp_path: Path) -> Path:
    """A copy of ``finished``, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "artifacts"))


def trained(config: Config, *accuracies: float) -> Path:
    """The folder of a finished run whose epochs have these accuracies on valid."""
    scores = [Scores(0.5, accuracy, 0.5, 0.5) for accuracy in accuracies]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.loop, "evaluate", lambda *_: scores.pop(0))
        return train_network(config)


def content_of(artifacts: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (artifacts / "resnet18").iterdir() if path.is_file()}


@pytest.mark.parametrize("how", [{}, {"force": True}, {"resume": True}])
def test_a_second_run_in_the_folder_of_one_at_work_is_refused(
    how: dict[str, Any], artifacts: Path, shards: Path
) -> None:
    before = content_of(artifacts)
    at_work = os.open(artifacts / "resnet18", os.O_RDONLY)
    fcntl.flock(at_work, fcntl.LOCK_EX)  # as the other run holds it
    with pytest.raises(UserError, match=r"/resnet18: another run is at work there"):
        train_network(config_of(shards, artifacts, **how))
    assert content_of(artifacts) == before
    os.close(at_work)
    train_network(config_of(shards, artifacts, force=True))


def test_a_run_holds_its_folder_while_it_trains_and_no_longer(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(*arguments: Any) -> Any:
        with pytest.raises(UserError, match="another run is at work there"):
            train_network(replace(config, resume=True))
        return evaluate(*arguments)

    evaluate, config = train.loop.evaluate, config_of(shards, tmp_path)
    monkeypatch.setattr(train.loop, "evaluate", second)
    train_network(config)
    train_network(replace(config, resume=True))


def test_workers_do_not_hold_the_folder_of_a_run_that_is_gone(
    shards: Path, reader: SplitReader, tmp_path: Path
) -> None:
    # A killed run's workers may outlive it for seconds.
    run = Run(config_of(shards, tmp_path))
    with locked_run(run):
        batches = iter(train_batches(reader, 2, 0, 1, 2, pin=False))
        next(batches)
        with pytest.raises(UserError, match="another run is at work there"), locked_run(run):
            pass
    assert len(active_children()) >= 2
    with locked_run(run):
        pass
    batches.close()  # type: ignore[attr-defined]


def test_a_file_system_that_locks_no_folders_is_told_of(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", fail)
    train_network(config_of(shards, tmp_path, epochs=1))
    assert "cannot be locked (Bad file descriptor): start no second run there" in capsys.readouterr().out


def test_what_a_killed_run_left_half_written_is_removed(artifacts: Path, shards: Path) -> None:
    folder = artifacts / "resnet18"
    for name in (".last.pt.abc.tmp", ".best.pt.x_1.tmp", ".model.onnx.abc.tmp"):
        (folder / name).write_bytes(b"half")
    train_network(config_of(shards, artifacts, resume=True))
    # An export may be at work in the same folder: its files are its own.
    assert {path.name for path in folder.iterdir() if path.suffix == ".tmp"} == {".model.onnx.abc.tmp"}


@pytest.mark.parametrize("changes", [{}, {"cycles": 2}], ids=["finished", "given a cycle"])
def test_a_run_whose_best_weights_are_gone_is_not_gone_on_with(
    changes: dict[str, Any], shards: Path, tmp_path: Path
) -> None:
    config = config_of(shards, tmp_path)
    (trained(config, 0.75, 0.5) / "best.pt").unlink()
    before = content_of(tmp_path)
    with pytest.raises(UserError, match=r"best\.pt: is gone, .*--force \(make: FORCE=1\) trains anew"):
        train_network(replace(config, resume=True, **changes))
    assert content_of(tmp_path) == before
    train_network(replace(config, force=True))


def test_a_history_that_is_gone_comes_back_from_the_checkpoint(artifacts: Path, shards: Path) -> None:
    history = artifacts / "resnet18" / "history.csv"
    before = history.read_bytes()
    history.unlink()
    train_network(config_of(shards, artifacts, resume=True))
    assert history.read_bytes() == before


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"training": {"seed": 1}}, "not of the run in last.pt, these differ: seed 1 -> 0"),
    ({"epoch": 9}, "not of epoch 1, the best one of the run in last.pt"),
    ({"metrics": {"valid_accuracy": 0.25}}, "not of epoch 1, the best one of the run in last.pt"),
]


def change_best(best: Path, changes: dict[str, Any]) -> None:
    """Other weights, and a card with ``changes``."""
    card, state = load_checkpoint(best)
    changed = replace(card, **{k: card.training | v if k == "training" else v for k, v in changes.items()})
    save_checkpoint(best, changed, {"model": {k: v + 1 for k, v in state["model"].items()}})


@pytest.mark.parametrize(("changes", "words"), OTHERS)
def test_nor_is_one_whose_best_weights_are_of_another_run(
    changes: dict[str, Any], words: str, shards: Path, tmp_path: Path
) -> None:
    config = config_of(shards, tmp_path)
    change_best(trained(config, 0.75, 0.5) / "best.pt", changes)
    before = content_of(tmp_path)
    with pytest.raises(UserError, match=rf"best\.pt: {words}; --force \(make: FORCE=1\) trains anew"):
        train_network(replace(config, resume=True))
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("changes", [*(changes for changes, _ in OTHERS), {}, None, b"PK"], ids=str)
@pytest.mark.parametrize("refit", [False, True])
def test_of_the_last_epoch_they_are_written_anew(
    changes: Any, refit: bool, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A forced run of the same settings that was killed between its first best.pt and its first last.pt left this, when
    # they were written in that order; in today's, every run that is killed between them leaves it.
    config = config_of(shards, tmp_path, refit=refit)
    best = trained(config, 0.5, 0.75) / "best.pt"
    card, state = load_checkpoint(best)
    if isinstance(changes, dict):
        change_best(best, changes)
    else:
        best.write_bytes(changes) if changes else best.unlink()
    train_network(replace(config, resume=True))
    found, weights = load_checkpoint(best)
    assert found == card
    assert_equal(weights["model"], state["model"])
    assert "best.pt is written anew: it was not of epoch 2, the best one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("field", "value"), [("optimizer", 3), ("ema_updates", "x"), ("history", [1]), ("phase", {"epoch": 1})]
)
def test_a_checkpoint_with_another_kind_of_value_cannot_be_resumed(
    field: str, value: Any, artifacts: Path, shards: Path
) -> None:
    last = artifacts / "resnet18" / "last.pt"
    card, state = load_checkpoint(last)
    save_checkpoint(last, card, {k: v for k, v in state.items() if k not in ("card", "format")} | {field: value})
    with pytest.raises(
        UserError, match=r"last\.pt: cannot be resumed \(\w+Error\); --force \(make: FORCE=1\) trains anew"
    ):
        train_network(config_of(shards, artifacts, resume=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arch": "resnet50"}, "arch resnet50 -> resnet18"),
        ({"classes": ("a", "b")}, r"classes \('a', 'b'\) -> \('normal', 'blast'\)"),
        ({"training": {"cycles": "x"}}, "cycles x -> 1"),
    ],
)
def test_a_checkpoint_of_another_network_says_what_differs(
    changes: dict[str, Any], words: str, artifacts: Path, shards: Path
) -> None:
    last = artifacts / "resnet18" / "last.pt"
    card, state = load_checkpoint(last)
    changed = replace(card, **{k: card.training | v if k == "training" else v for k, v in changes.items()})
    save_checkpoint(last, changed, {k: v for k, v in state.items() if k not in ("card", "format")})
    with pytest.raises(UserError, match=f"cannot be resumed, these differ: {words}; --force"):
        train_network(config_of(shards, artifacts, resume=True))


@pytest.mark.parametrize("name", ["tensorboard", "run.json", "last.pt", "history.csv"])
@pytest.mark.parametrize("how", [{"force": True}, {"resume": True}], ids=["force", "resume"])
def test_a_folder_where_a_file_belongs_or_a_file_for_a_folder_ends_in_one_line(
    name: str, how: dict[str, Any], artifacts: Path, shards: Path
) -> None:
    path = artifacts / "resnet18" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.write_text("a file") if name == "tensorboard" else path.mkdir()
    with pytest.raises(UserError, match=f"{name}: (cannot be (written|removed)|not a readable checkpoint)"):
        train_network(config_of(shards, artifacts, cycles=2, **how))


@pytest.mark.parametrize("name", [".", "resnet18"])
def test_a_file_in_place_of_the_folder_ends_in_one_line(name: str, shards: Path, tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file")
    with pytest.raises(UserError, match=r"/resnet18: cannot be written: (File exists|Not a directory)"):
        train_network(config_of(shards, tmp_path / "artifacts"))


def test_artifacts_that_may_not_be_written_end_in_one_line(shards: Path, open_folder: Path) -> None:
    (open_folder / "closed").mkdir(mode=0o555)
    copy = Path(shutil.copytree(shards, open_folder / "shards"))
    for path in [copy, *copy.iterdir()]:
        path.chmod(0o755)
    with as_nobody(), pytest.raises(UserError, match="closed/resnet18: cannot be written: Permission denied"):
        train_network(config_of(copy, open_folder / "closed"))
