"""`build --split identity --folds K --fold k` killed on its way, and the same command given again: the same bytes."""

import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from build_shards import shard_writer, twin_search
from build_shards.synthetic import draw_cell
from contract.command import run_command
from contract.manifest import load_manifest

IDS = [f"{cls}{i}" for cls in ("", "H") for i in range(1, 6)]  # blasts 1 to 5, normals H1 to H5; 1 and 2 are one person


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small drawn cells of every id, the last of 2 being one of 1. Read only."""
    folder, rng = tmp_path_factory.mktemp("course") / "data", np.random.default_rng(0)
    (folder / "cells").mkdir(parents=True)
    rows = [
        (f"./cells/{subject}_{cell}.bmp", subject, int(subject[0] != "H"), cell) for subject in IDS for cell in (0, 1)
    ]
    for path, _, label, _ in rows:
        assert cv2.imwrite(str(folder / path), draw_cell(label, rng.normal(), rng, 120))
    shutil.copy(folder / "cells" / "1_0.bmp", folder / "cells" / "2_1.bmp")
    table = pd.DataFrame(rows, columns=["Path", "subject", "label", "cell"])
    for name, cell in (("train", 0), ("valid", 1)):
        table[table["cell"] == cell][["Path", "label"]].to_csv(folder / f"{name}.csv", index=False)
    table[["Path", "subject"]].to_csv(folder / "subjects.csv", index=False)
    shutil.copy(folder / "cells" / "3_1.bmp", folder / "cells" / "test.bmp")
    (folder / "resnet_18_test.csv").write_text("Path\n./cells/test.bmp\n")
    return folder


def build(monkeypatch: pytest.MonkeyPatch, data: Path, place: Path) -> None:
    flags = ("--split", "identity", "--folds", 2, "--fold", 2, "--size", 33, "--workers", 1, "--stain", "macenko")
    folders = ("--data", data, "--shards", place / "shards", "--cache", place / "cache")
    monkeypatch.setattr(sys, "argv", ["build_shards", "build", *map(str, (*folders, *flags))])
    run_command("build_shards.cli")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def dying(original: Callable, calls: int) -> Callable:
    """``original``, until it is called for the last of so many times: then the process is killed before it."""
    left = [calls]

    def call(*arguments: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    return call


def killed(monkeypatch: pytest.MonkeyPatch, data: Path, place: Path, module: object, name: str, calls: int) -> bool:
    """Build in a forked process that is killed at a call of ``module.name``; true when it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside torch's idle threads is harmless here
        child = os.fork()
    if child == 0:
        setattr(module, name, dying(getattr(module, name), calls))
        build(monkeypatch, data, place)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def whole(course: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a build that nothing interrupts ends in."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("build_shards.plan.SAMPLES_PER_SHARD", 3)
        build(monkeypatch, course, place)
    manifest = load_manifest(place / "shards")
    assert (manifest.split_by, manifest.folds, manifest.identities["2"]) == ("identity", 2, "1+2")
    assert len(manifest.shards) >= 7
    return contents(place)


@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [
        (twin_search, "fingerprint", 12),  # in the search for people
        (twin_search, "publish_text", 1),  # when it is found and not yet kept
        (shard_writer, "preprocess", 2),  # in the first shard
        (shard_writer, "preprocess", 14),  # among the shards
        (shard_writer, "publish_text", 4),  # when a shard is written and its record is not
        (os, "link", 3),  # while shards are published
    ],
)
def test_the_same_command_ends_in_the_same_bytes(
    course: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    calls: int,
) -> None:
    monkeypatch.setattr("build_shards.plan.SAMPLES_PER_SHARD", 3)
    assert killed(monkeypatch, course, tmp_path, module, name, calls), "it was over before the kill"
    kept = list((tmp_path / "cache").glob("twins-*.json"))
    staged = sorted((tmp_path / "shards").glob(".building-*/*.tar.json"))
    assert not (tmp_path / "shards" / "manifest.json").exists()
    assert bool(kept) == (module is not twin_search)
    written: list[Path] = []
    publish = shard_writer.publish_text
    monkeypatch.setattr(shard_writer, "publish_text", lambda path, text: (written.append(path), publish(path, text)))
    if kept:  # the people were found: they are not looked for again
        monkeypatch.setattr(twin_search, "find_twins", lambda *_: pytest.fail("searched again"))
    build(monkeypatch, course, tmp_path)
    assert contents(tmp_path) == whole
    assert not set(staged) & set(written), "a whole shard was written again"
