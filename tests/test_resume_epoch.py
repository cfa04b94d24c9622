"""The end of an epoch is several files: killed between any two, a resumed run makes them agree again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from equality import assert_equal
from small_network import config_of

import train.loop
import train.resume
from train.checkpoint import load_checkpoint
from train.config import Config
from train.history import Epoch, best_epoch, read_history, write_history
from train.loop import train as train_network
from train.run import Run
from train.scores import Scores

pytestmark = pytest.mark.usefixtures("small_networks")
FILES = {1: 5, 2: 6}  # that two epochs write, where the first or the second is the best


@contextmanager
def trained(accuracies: tuple[float, float], rate: float, files: int | None = None) -> Iterator[dict[Any, Any]]:
    """Runs of the block have these accuracies on valid and this learning rate, and die before one file too many.

    Yields the averaged weights after every epoch, by its number and accuracy.
    """
    weights: dict[Any, Any] = {}
    left = iter(range(files if files is not None else 100))

    def noted(run: Run, *_: object) -> Scores:
        accuracy = accuracies[len(run.history)]
        averaged = run.ema.model.state_dict()
        weights[len(run.history) + 1, accuracy] = {name: value.clone() for name, value in averaged.items()}
        return Scores(0.5, accuracy, 0.5, 0.5)

    def mortal(write: Any) -> Any:
        def write_or_die(*arguments: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            write(*arguments)

        return write_or_die

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.loop, "evaluate", noted)
        monkeypatch.setattr(train.loop, "learning_rate_of_step", lambda *_: rate)
        for name in ("save_checkpoint", "write_history"):
            monkeypatch.setattr(train.resume, name, mortal(getattr(train.resume, name)))
        yield weights


def assert_agree(folder: Path, tmp_path: Path, weights: dict[Any, Any]) -> Epoch:
    """The best epoch of last.pt; best.pt has its card and weights, and history.csv all rows."""
    _, state = load_checkpoint(folder / "last.pt")
    rows = [Epoch(**row) for row in state["history"]]
    best = best_epoch(rows)
    card, found = load_checkpoint(folder / "best.pt")
    assert (card.epoch, card.metrics) == (best.epoch, best.metrics)
    assert_equal(found["model"], weights[best.epoch, best.valid_accuracy])
    write_history(tmp_path / "wanted.csv", rows)
    assert (folder / "history.csv").read_bytes() == (tmp_path / "wanted.csv").read_bytes()
    return best


@pytest.mark.parametrize(("best", "files"), [(best, n) for best, most in FILES.items() for n in range(most)])
def test_a_forced_run_leaves_the_run_before_it_or_itself_and_no_mixture(
    best: int, files: int, shards: Path, tmp_path: Path
) -> None:
    # Of one recipe: nothing but what the files hold tells the two runs apart.
    config, scores = config_of(shards, tmp_path), {1: (0.75, 0.5), 2: (0.5, 0.75)}
    with trained((scores[best][0] + 0.1, scores[best][1] + 0.1), rate=0.01) as before:
        train_network(config)
    with trained(scores[best], rate=0.02, files=files) as forced, pytest.raises(KeyboardInterrupt):
        train_network(replace(config, force=True))
    with trained(scores[best], rate=0.02) as resumed:
        folder = train_network(replace(config, resume=True))
    found = assert_agree(folder, tmp_path, forced | resumed if files else before)
    assert found.epoch == best
    assert (folder / "run.json").is_file()
    assert [row.epoch for row in read_history(folder / "history.csv")] == [1, 2]
    with trained(scores[best], rate=0.02):
        whole = train_network(replace(config, artifacts=tmp_path / "whole"))
    names = ("last.pt", "best.pt")
    same = [torch.equal(*(load_checkpoint(f / n)[1]["model"]["fc.weight"] for f in (folder, whole))) for n in names]
    assert same == [files > 0] * 2


@pytest.mark.parametrize("files", range(FILES[2]))
def test_an_epoch_that_is_done_again_and_no_longer_the_best_leaves_the_best_one(
    files: int, shards: Path, tmp_path: Path
) -> None:
    # Of other threads the sums, and so the scores, are others: here much so.
    config: Config = config_of(shards, tmp_path)
    with trained((0.6, 0.9), rate=0.02, files=files) as first, pytest.raises(KeyboardInterrupt):
        train_network(config)
    with trained((0.6, 0.5), rate=0.01) as again:
        folder = train_network(replace(config, resume=True))
    assert assert_agree(folder, tmp_path, again | first if files else again).epoch == (1 if files < 4 else 2)
