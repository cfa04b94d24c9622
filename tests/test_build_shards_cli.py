"""The commands of the builder: what they print, and which flags they take."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from build_command import assert_one_line, run_here, start

from build_shards.cli import Build, _summary
from build_shards.dataset import Dataset
from build_shards.split import SplitChoice
from contract.manifest import Manifest, load_manifest
from contract.recipe import Recipe


def test_synthetic_and_build_work_as_commands_and_print_a_summary(tmp_path: Path):
    data, out = tmp_path / "data", tmp_path / "shards"
    drawn = start("synthetic", "--data", data, "--cells", 20)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert drawn.stdout == f"20 synthetic cells in {data}\n"
    built = start("build", "--data", data, "--shards", out, "--size", 33, "--workers", 1, "--cache", tmp_path / "cache")
    assert (built.returncode, built.stderr) == (0, "")
    note, *summary = built.stdout.splitlines()
    assert note.startswith("NOTE: split by identity: train 12 cells of ")
    assert note.endswith(
        "--split given keeps train.csv and valid.csv as the course made them (needed to compare with its boards)"
    )
    assert summary[0] == f"synthetic cells (drawn, not real): built in {out}"
    assert summary[1].startswith("  train: 12 cells (")
    assert "subjects (" in summary[2]
    assert summary[3] == "  test: 4 cells (labels unknown)"
    assert sum(split.samples for split in load_manifest(out).splits) == 20


def test_a_bad_image_in_a_worker_process_ends_in_one_line(write_course, tmp_path: Path):
    data = write_course()
    (data / "cells" / "4.bmp").write_bytes(b"not an image")
    done = start("build", "--data", data, "--shards", tmp_path / "shards", "--workers", 2)
    assert done.returncode == 2
    assert_one_line(done.stderr)
    assert "4.bmp: not a BMP or PNG image (12 bytes)" in done.stderr
    assert list(tmp_path.glob("shards/*")) == []


def test_a_finished_build_says_so(write_course, tmp_path: Path, monkeypatch, capsys):
    arguments = ("build", "--data", write_course(), "--shards", tmp_path / "s", "--size", 33, "--workers", 1)
    assert run_here(monkeypatch, *arguments) == 0
    assert "built in" in capsys.readouterr().out
    assert run_here(monkeypatch, *arguments) == 0
    assert "already built in" in capsys.readouterr().out


def test_format_and_quality_reach_the_manifest(write_course, tmp_path: Path, monkeypatch):
    flags = ("--size", 33, "--window", 40, "--workers", 1, "--format", "jpg", "--quality", 85)
    assert run_here(monkeypatch, "build", "--data", write_course(), "--shards", tmp_path / "s", *flags) == 0
    recipe = load_manifest(tmp_path / "s").recipe
    assert (recipe.format, recipe.quality) == ("jpg", 85)


def test_shrunk_cells_are_in_the_summary(synthetic_data: Path, tmp_path: Path, monkeypatch, capsys):
    flags = ("--size", 33, "--window", 33, "--workers", 1, "--split", "given")
    assert run_here(monkeypatch, "build", "--data", synthetic_data, "--shards", tmp_path / "s", *flags) == 0
    assert "60 cells larger than the 33 px window, shrunk to fit" in capsys.readouterr().out


def write_archive(folder: Path, write_image) -> Path:
    cell = np.zeros((40, 40, 3), np.uint8)
    cell[5:30, 5:30] = 90
    for number in range(1, 21):
        for cls, subject in (("all", f"{number}"), ("hem", f"H{number}")):
            write_image(folder / "fold_0" / cls / f"UID_{subject}_1_1_{cls}.bmp", cell)
    return folder


@pytest.mark.parametrize("split", ["image", "subject"])
def test_a_split_by_image_warns_of_leakage_and_one_by_subject_does_not(
    tmp_path: Path, write_image, monkeypatch, capsys, split: str
):
    data = write_archive(tmp_path / "archive", write_image)
    flags = ("--size", 33, "--split", split, "--workers", 1)
    assert run_here(monkeypatch, "build", "--data", data, "--shards", tmp_path / "s", *flags) == 0
    warned = "Warning: cells of one subject are on several sides" in capsys.readouterr().out
    assert warned == (split == "image")
    assert load_manifest(tmp_path / "s").split_by == split


def test_help_names_every_flag(monkeypatch, capsys):
    assert run_here(monkeypatch, "build", "--help") == 0
    text = capsys.readouterr().out
    for field in fields(Build):
        assert re.search(rf"--{field.name.replace('_', '-')}\b(?!-)", text), field.name


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "--data", "x", "--sise", "33"),
        ("build", "--data", "x", "--crop", "tight"),
        ("build",),
        ("draw",),
        (),
    ],
)
def test_an_unknown_flag_or_value_ends_with_status_2(monkeypatch, capsys, arguments: tuple[str, ...]):
    assert run_here(monkeypatch, *arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_unknown_flag_is_named_with_the_nearest_valid_one(monkeypatch, capsys):
    assert run_here(monkeypatch, "build", "--data", "x", "--sise", "33") == 2
    text = capsys.readouterr().err
    assert "--sise" in text
    assert "--size" in text


@pytest.mark.parametrize("flags", [("--cells", "5"), ("--seed", "-1"), ("--seed", "4294967296")])
def test_synthetic_refuses_in_one_line(tmp_path: Path, monkeypatch, capsys, flags: tuple[str, str]):
    assert run_here(monkeypatch, "synthetic", "--data", tmp_path / "data", *flags) == 2
    assert_one_line(capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_every_flag_of_a_build_reaches_it(write_course, tmp_path: Path, monkeypatch, manifest: Manifest):
    asked: list[tuple] = []

    def split(dataset: Dataset, choice: SplitChoice, find: Callable[[Dataset], dict]) -> Dataset:
        asked.append((choice, find(dataset)))
        return dataset

    def build(dataset: Dataset, *arguments: object, **options: object) -> tuple[Manifest, bool]:
        asked.append((dataset.name, *arguments, options))
        return manifest, True

    monkeypatch.setattr("build_shards.cli.find_people", lambda _, *options: {"options": options})
    monkeypatch.setattr("build_shards.cli.split_dataset", split)
    monkeypatch.setattr("build_shards.cli.build", build)
    flags = ("--size", 34, "--window", 200, "--crop", "box", "--stain", "reinhard", "--name", "cells of a friend")
    flags += ("--split", "image", "--folds", 5, "--fold", 2, "--seed", 7, "--format", "jpg", "--quality", 80)
    options = ("--workers", 3, "--shards-multiple-of", 4, "--skip-bad", "--force", "--cache", tmp_path / "c")
    arguments = ("--data", write_course(), "--shards", tmp_path / "s", *flags, *options)
    assert run_here(monkeypatch, "build", *arguments) == 0
    recipe = Recipe(stain="reinhard", crop="box", window=200, size=34, format="jpg", quality=80)
    wanted = {"force": True, "multiple_of": 4, "skip_bad": True}
    assert asked == [
        (SplitChoice("image", folds=5, fold=2, seed=7), {"options": (3, tmp_path / "c", True)}),
        ("cells of a friend", recipe, tmp_path / "s", 3, wanted),
    ]


def test_the_summary_counts_each_class_and_what_was_changed_or_left_out(manifest: Manifest):
    splits = tuple(replace(split, shared_subjects=split.subjects // 2) for split in manifest.splits)
    seen = replace(manifest, splits=splits, skipped=2, unnormalised=("a", "b", "c"), shrunk=4)
    (shard,) = [shard for shard in manifest.shards if shard.split == "valid"]
    normal, blast = shard.class_counts
    split = seen.split("valid")
    lines = _summary(seen, Path("s"), built=False).splitlines()
    assert lines[0] == "synthetic cells (drawn, not real): already built in s"
    assert lines[1].startswith("  train: 36 cells (")
    assert lines[1].endswith(" blast)")
    people = f"{split.subjects} subjects ({split.shared_subjects} also in train)"
    assert lines[2] == f"  valid: 12 cells ({normal} normal, {blast} blast), {people}"
    assert normal != blast
    assert lines[3:] == [
        "  test: 12 cells (labels unknown)",
        "  2 faulty cells left out: see s/skipped.csv",
        "  3 cells with colours unchanged: the stain cannot be told",
        f"  4 cells larger than the {manifest.recipe.window} px window, shrunk to fit",
    ]
    single = _summary(replace(seen, skipped=1, unnormalised=("a",), shrunk=1), Path("s"), built=True).splitlines()[4:]
    assert [line.split()[:3] for line in single] == [
        ["1", "faulty", "cell"],
        ["1", "cell", "with"],
        ["1", "cell", "larger"],
    ]


def test_an_audit_as_a_command_keeps_its_search_and_says_what_it_wrote(
    write_course, tmp_path: Path, monkeypatch, capsys
):
    flags = ("--out", tmp_path / "out", "--cache", tmp_path / "cache", "--workers", 1)
    assert run_here(monkeypatch, "audit", "--data", write_course(), *flags) == 0
    written = [str(tmp_path / "out" / name) for name in ("audit.json", "twins.csv", "twins.png")]
    assert capsys.readouterr().out.splitlines()[-3:] == written
    assert all(Path(path).is_file() for path in written)
    assert len(list((tmp_path / "cache").glob("twins-*.json"))) == 1


def test_a_preview_as_a_command_is_of_the_recipe_that_is_asked_for(write_course, tmp_path: Path, monkeypatch, capsys):
    drawn: list[tuple[Recipe, Path]] = []
    monkeypatch.setattr("build_shards.preview.preview", lambda _, recipe, path: drawn.append((recipe, path)))
    flags = ("--stain", "macenko", "--crop", "box", "--size", 50, "--window", 60, "--out", tmp_path / "p.png")
    assert run_here(monkeypatch, "preview", "--data", write_course(), *flags) == 0
    assert drawn == [(Recipe(stain="macenko", crop="box", size=50, window=60), tmp_path / "p.png")]
    assert capsys.readouterr().out == f"{tmp_path / 'p.png'}\n"
