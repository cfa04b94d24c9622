"""Checkpoints: what comes back, what is refused, and what a failing write leaves."""

import io
import os
import pickle
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import train.checkpoint
from contract.errors import UserError
from contract.model_card import FORMAT as CARD_FORMAT
from contract.model_card import ModelCard
from contract.recipe import Recipe
from train.checkpoint import FORMAT, load_checkpoint, save_checkpoint

CARD = ModelCard(
    format=CARD_FORMAT,
    arch="resnet18",
    classes=("normal", "blast"),
    dataset="synthetic",
    recipe=Recipe(size=40),
    mean=(1.0, 2.0, 3.0),
    std=(4.0, 5.0, 6.0),
    manifest_digest="0" * 64,
    seed=0,
    epoch=3,
    training={"lr": 0.05, "flip": True},
    versions={"torch": "2"},
    metrics={"valid_accuracy": 0.5},
)
STATE: dict[str, Any] = {
    "model": {"weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(7)},
    "history": [{"epoch": 1, "train_loss": 0.25}],
    "ema_updates": 12,
}


def saved(content: Any) -> bytes:
    """The bytes of ``torch.save``."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def refusal(path: Path) -> str:
    """The message with which a file is refused: it names the file, in one line."""
    with pytest.raises(UserError) as error:
        load_checkpoint(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "last.pt"


def test_state_and_card_come_back_as_they_were(path: Path) -> None:
    save_checkpoint(path, CARD, STATE)
    card, state = load_checkpoint(path)
    assert card == CARD
    assert state["history"] == STATE["history"]
    assert state["ema_updates"] == 12
    for name, value in STATE["model"].items():
        assert torch.equal(state["model"][name], value)
        assert state["model"][name].dtype == value.dtype


def test_file_holds_nothing_that_needs_trust(path: Path) -> None:
    save_checkpoint(path, CARD, STATE)
    content = torch.load(path, weights_only=True)
    assert content["format"] == FORMAT
    assert ModelCard.from_json(content["card"]) == CARD


def test_only_the_checkpoint_is_left_in_the_folder(path: Path) -> None:
    for _ in range(2):
        save_checkpoint(path, CARD, STATE)
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


def test_missing_file_is_refused(path: Path) -> None:
    assert "train the network first" in refusal(path)


def test_truncated_file_is_refused_wherever_it_ends(path: Path) -> None:
    save_checkpoint(path, CARD, STATE)
    whole = path.read_bytes()
    for length in (1, 2, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "last.pt" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello world", b"\x89PNG\r\n\x1a\n", b"\x00" * 100, pickle.dumps({"format": FORMAT}, protocol=2)],
    ids=["empty", "text", "png", "zeros", "pickle"],
)
def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    assert "last.pt" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        torch.zeros(2),
        {"weight": torch.zeros(2)},
        {"format": FORMAT + 1, "card": CARD.to_json()},
        {"format": FORMAT},
        {"format": FORMAT, "card": 3},
        {"format": FORMAT, "card": "{}"},
        {"format": FORMAT, "card": "not JSON"},
    ],
    ids=["list", "tensor", "plain weights", "other format", "no card", "number as card", "empty card", "text as card"],
)
def test_checkpoint_of_another_program_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(saved(content))
    assert "last.pt" in refusal(path)


class Trap:
    """Unpickling it makes a file: proof that code was run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_trap_springs_without_weights_only(tmp_path: Path) -> None:
    # Else the next test would pass for any file.
    torch.load(io.BytesIO(saved({"model": Trap(tmp_path / "mark")})), weights_only=False)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("dump", [saved, lambda content: pickle.dumps(content, protocol=2)], ids=["zip", "pickle"])
def test_malicious_object_is_refused_and_not_run(tmp_path: Path, dump: Any) -> None:
    path, mark = tmp_path / "last.pt", tmp_path / "mark"
    path.write_bytes(dump({"format": FORMAT, "card": CARD.to_json(), "model": Trap(mark)}))
    refusal(path)
    assert not mark.exists()


def test_failing_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(path, CARD, STATE)
    before = path.read_bytes()

    def half(_: Any, file: Any) -> None:
        file.write(before[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(train.checkpoint.torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, CARD, {"ema_updates": 13})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(path: Path) -> None:
    save_checkpoint(path, CARD, STATE)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"last\.pt: cannot be written: File too large$"):
            save_checkpoint(path, CARD, {"model": {"weight": torch.zeros(100_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


def test_a_second_ctrl_c_is_no_defect_of_the_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(path, CARD, STATE)
    before = path.read_bytes()

    class Interrupted(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(data)
            if self.tell() > 1000:
                raise KeyboardInterrupt
            return len(data)

    monkeypatch.setattr(os, "fdopen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, CARD, {"model": {"weight": torch.zeros(1000)}})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder's permissions are POSIX's")
def test_file_where_a_folder_belongs_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        save_checkpoint(tmp_path / "run" / "last.pt", CARD, STATE)


def test_weights_that_lay_on_a_gpu_are_read_where_there_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        save_checkpoint(path, CARD, STATE)
    assert torch.equal(load_checkpoint(path)[1]["model"]["weight"], STATE["model"]["weight"])
