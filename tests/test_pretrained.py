"""The network that git keeps: copied with its card, asked where nothing is exported, and checked against its card."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from two_networks import recard

from build_shards.dataset import read_dataset
from build_shards.shards import build
from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_file import int8_entries
from contract.recipe import Recipe
from evaluate.demo import Demo, demo
from evaluate.predictor import Predictor
from evaluate.pretrained import FOLDER, Keep, keep, open_or_pretrained
from evaluate.unlike import load_ranges

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def quantised(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts folder with what passes for an int8 export of ``exported``. Read only."""
    folder = tmp_path_factory.mktemp("quantised")
    (folder / "resnet18").mkdir()
    path = folder / "resnet18" / "model.int8.onnx"
    shutil.copy(exported / "resnet18" / "model.onnx", path)
    recard(path, variant="int8", metrics={"valid_accuracy": 0.75}, samples=12)
    return folder


@pytest.fixture
def kept(quantised: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that git would keep, in the place of this copy's; a test may damage it."""
    keep(Keep("resnet18", quantised, (shards,), tmp_path / "pretrained"))
    monkeypatch.setattr("evaluate.pretrained.FOLDER", tmp_path / "pretrained")
    return tmp_path / "pretrained"


def test_it_answers_where_nothing_is_exported_and_says_so(
    kept: Path, quantised: Path, manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = open_or_pretrained(tmp_path / "empty", (), "cpu", 1, False)
    assert list(networks.predictors) == ["resnet18"]
    assert networks.predictors["resnet18"].path == kept / "resnet18" / "model.int8.onnx"
    original = Predictor(quantised / "resnet18" / "model.int8.onnx", "cpu", 1)
    assert networks.predictors["resnet18"].sha256 == original.sha256
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for words in (
        "note: ",
        "no exported network there",
        "pretrained resnet18",
        manifest.dataset,
        "accuracy 75.0% on the validation split (n = 12)",
    ):
        assert words in said
    # Size and stain are judged without a folder of shards.
    known = networks.ranges[manifest.digest]
    assert known is not None
    assert known.cells == 36


@pytest.mark.usefixtures("kept")
def test_an_exported_network_goes_first_without_a_word(
    exported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "artifacts")
    networks = open_or_pretrained(tmp_path / "artifacts", (), "cpu", 1, False)
    assert networks.predictors["resnet18"].path == tmp_path / "artifacts" / "resnet18" / "model.onnx"
    assert capsys.readouterr().err == ""


def test_without_either_it_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluate.pretrained.FOLDER", tmp_path / "nothing")
    with pytest.raises(UserError, match="no exported network there"):
        open_or_pretrained(tmp_path, (), "cpu", 1, False)


def test_a_file_or_a_card_that_is_another_one_is_refused(kept: Path, tmp_path: Path) -> None:
    card = kept / "resnet18" / "card.json"
    text = card.read_text()
    card.write_text(text.replace('"epoch": 1', '"epoch": 9'))
    with pytest.raises(UserError, match=r"card\.json: is not the card of .*model\.int8\.onnx"):
        open_or_pretrained(tmp_path, (), "cpu", 1, False)
    card.write_text(text)
    recard(kept / "resnet18" / "model.int8.onnx", epoch=9)  # sealed again: a whole file, of another network
    with pytest.raises(UserError, match=r"model\.int8\.onnx: is not the file that .*card\.json describes"):
        open_or_pretrained(tmp_path, (), "cpu", 1, False)


def test_another_network_that_is_kept_leaves_the_ranges_of_the_first(
    kept: Path, quantised: Path, synthetic_data: Path, manifest: Manifest, tmp_path: Path
) -> None:
    other, _ = build(read_dataset(synthetic_data), Recipe(size=33), tmp_path / "33px", workers=1, force=False)
    (tmp_path / "a" / "resnet50").mkdir(parents=True)
    theirs = tmp_path / "a" / "resnet50" / "model.int8.onnx"
    shutil.copy(quantised / "resnet18" / "model.int8.onnx", theirs)
    recard(theirs, arch="resnet50", manifest_digest=other.digest)
    for _ in range(2):  # once more changes nothing
        keep(Keep("resnet50", tmp_path / "a", (tmp_path / "33px",), kept))
        assert set(load_ranges(kept / "training_ranges.json")) == {manifest.digest, other.digest}
    networks = open_or_pretrained(tmp_path / "empty", (), "cpu", 1, False)
    assert all(known is not None for known in networks.ranges.values())
    keep(Keep("resnet50", _trained_on(manifest, theirs, tmp_path), (tmp_path / "33px", tmp_path / "40px"), kept))
    assert set(load_ranges(kept / "training_ranges.json")) == {manifest.digest}, "nobody kept is of the others"


def _trained_on(manifest: Manifest, theirs: Path, tmp_path: Path) -> Path:
    """The same network, now of the shards of ``manifest``, whose range is known already."""
    recard(theirs, manifest_digest=manifest.digest)
    shutil.copy(tmp_path / "pretrained" / "training_ranges.json", tmp_path / "a" / "training_ranges.json")
    return tmp_path / "a"


@pytest.mark.parametrize("file", ["resnet18/card.json", "training_ranges.json"])
def test_text_that_is_none_is_named(kept: Path, tmp_path: Path, file: str) -> None:
    (kept / file).write_bytes(b"\xff{}")
    with pytest.raises(UserError, match=rf"{Path(file).name}: cannot be read: not UTF-8"):
        open_or_pretrained(tmp_path, (), "cpu", 1, False)


def test_only_an_int8_network_with_its_shards_is_kept(
    quantised: Path, exported: Path, shards: Path, tmp_path: Path
) -> None:
    shutil.copytree(quantised / "resnet18", tmp_path / "a" / "resnet18")
    with pytest.raises(UserError, match=r"nowhere: not the shards of .*model\.int8\.onnx"):
        keep(Keep("resnet18", tmp_path / "a", (tmp_path / "nowhere",), tmp_path / "out"))
    with pytest.raises(UserError, match=r"no such file"):
        keep(Keep("resnet18", exported, (shards,), tmp_path / "out"))
    (tmp_path / "b" / "resnet18").mkdir(parents=True)
    shutil.copy(exported / "resnet18" / "model.onnx", tmp_path / "b" / "resnet18" / "model.int8.onnx")
    with pytest.raises(UserError, match="its card says resnet18, float32"):
        keep(Keep("resnet18", tmp_path / "b", (shards,), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("kept")
def test_the_demo_takes_it(synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = synthetic_data / "synthetic" / "valid" / "1.bmp"
    (picture,) = demo(Demo(images=(cell,), artifacts=tmp_path / "empty", device="cpu", workers=1))
    assert picture.is_file()
    said = capsys.readouterr()
    assert "pretrained resnet18" in said.err
    assert "resnet18" in said.out
    assert not (tmp_path / "empty" / "training_ranges.json").exists()


def test_git_keeps_a_pretrained_network_and_nothing_else_of_artifacts(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path / ".gitignore")
    for name in ("pretrained/resnet18/model.int8.onnx", "pretrained/resnet18/card.json", "resnet18/model.onnx"):
        (tmp_path / "artifacts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "artifacts" / name).write_text("x")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = ["git", "ls-files", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    expected = ["artifacts/pretrained/resnet18/card.json", "artifacts/pretrained/resnet18/model.int8.onnx"]
    assert sorted(found) == [".gitignore", *expected]


@pytest.mark.skipif(not (FOLDER / "resnet18" / "card.json").is_file(), reason="no network is kept yet")
def test_the_network_of_this_copy_opens_and_is_that_of_its_card(synthetic_data: Path, tmp_path: Path) -> None:
    kept = json.loads((FOLDER / "resnet18" / "card.json").read_text())
    assert "synthetic" not in kept["card"]["dataset"]
    assert int8_entries(onnx.load(FOLDER / "resnet18" / kept["file"])) == (), "other programs know no setting of ours"
    cell = synthetic_data / "synthetic" / "valid" / "1.bmp"
    command = [sys.executable, "-m", "evaluate", "demo", cell, "--artifacts", tmp_path / "artifacts"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pretrained resnet18" in done.stderr
    assert "were not judged" not in done.stdout
