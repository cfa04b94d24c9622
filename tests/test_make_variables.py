"""Variables of the Makefile reach the flags of their names, blanks in them and all; what `make clean` removes."""

import shutil
from pathlib import Path

import pytest
from make_command import after, given, make, trained

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

# Of every flag that a variable may reach, a value of its own.
VALUES = {
    "--name": "Ada",
    "--split": "image",
    "--size": "61",
    "--seed": "62",
    "--workers": "63",
    "--epochs": "64",
    "--device": "cpu",
    "--threads": "65",
    "--port": "66",
}
TAKEN = {
    "shards": {"--name", "--split", "--size", "--seed", "--workers"},
    "audit": {"--workers"},
    "preview": {"--size"},
    "train": {"--epochs", "--seed", "--workers", "--device", "--threads"},
    "baseline": {"--seed"},
    "verify": {"--workers"},
    "evaluate": {"--device", "--workers"},
    "answers": {"--device", "--workers"},
    "demo": {"--device", "--workers"},
    "demo-web": {"--device", "--workers", "--port"},
    "handin": {"--name"},
}


@pytest.mark.parametrize("target", TAKEN)
def test_a_variable_reaches_the_flag_of_its_name_where_there_is_one(tmp_path: Path, target: str) -> None:
    variables = [f"{flag[2:].upper()}={value}" for flag, value in VALUES.items()]
    words = given(tmp_path, target, *variables, "DATA=x", "IMAGES=a.bmp", "STUDENT_ID=1", "FLAGS=--any 67")
    assert {flag for flag in VALUES if flag in words} == TAKEN[target]
    for flag in TAKEN[target]:
        assert after(words, flag)[0] == VALUES[flag]
    assert after(words, "--any")[0] == "67"


@pytest.mark.parametrize("variable", ["SHARDS=", "ARTIFACTS=", "ARTIFACTS= "])
def test_a_folder_without_a_name_is_refused_and_not_taken_for_the_current_one(variable: str) -> None:
    done = make("-n", "shards", "DATA=x", variable)
    assert (done.returncode, done.stdout) == (2, "")
    assert "SHARDS and ARTIFACTS are names of folders: one of them is empty" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("target", TAKEN)
def test_a_variable_that_is_not_given_leaves_the_command_s_default(tmp_path: Path, target: str) -> None:
    words = given(tmp_path, target, "DATA=x", "IMAGES=a.bmp", "STUDENT_ID=1")
    named = {"--name"} if target == "handin" else set()
    assert {flag for flag in VALUES if flag in words} == named
    assert "--force" not in words


@pytest.mark.parametrize("target", ["shards", "report", "handin"])
def test_a_name_is_text_and_never_a_command(tmp_path: Path, target: str) -> None:
    name = f'Ada "O\'B" `touch {tmp_path}/a` $(touch {tmp_path}/b) $(shell touch {tmp_path}/c) \\'
    words = given(tmp_path, target, "DATA=x", "STUDENT_ID=1", f"NAME={name}")
    assert after(words, "--name")[0] == name
    assert [path.name for path in tmp_path.iterdir()] == ["python"]


@pytest.mark.parametrize("target", ["shards", "train"])
def test_force_replaces_where_it_is_asked_for(tmp_path: Path, target: str) -> None:
    assert "--force" in given(tmp_path, target, "DATA=x", "FORCE=1")


@pytest.mark.parametrize("target", ["shards", "audit"])
def test_a_search_for_people_is_kept_for_builds_and_audits_alike(tmp_path: Path, target: str) -> None:
    assert after(given(tmp_path, target, "DATA=x", "ARTIFACTS=a"), "--cache") == ["a/cache"]


def test_int8_and_words_reach_the_commands_that_have_them(tmp_path: Path) -> None:
    assert "--int8" in given(tmp_path, "demo-web", "INT8=1")
    assert "--int8" not in given(tmp_path, "demo-web")
    for target, command in (("report", "paper"), ("handin", "handin")):
        words = given(tmp_path, target, "STUDENT_ID=1", "WORDS=my words")
        assert words[:3] == ["-m", "evaluate", command]
        assert after(words, "--words") == ["my words"]


def test_clean_removes_what_was_made_of_synthetic_cells_alone() -> None:
    done = make("-n", "clean", "ARTIFACTS=mine", "SHARDS=mine")
    assert done.stdout.split() == ["rm", "-rf", "artifacts/synthetic"]


TARGETS = ("shards", "train", "baseline", "export", "evaluate", "demo-web", "bench-inference")


@pytest.mark.parametrize("target", [*TARGETS, "demo", "verify", "audit", "preview", "publish", "report", "handin"])
def test_a_folder_with_blanks_in_its_name_stays_one_word(tmp_path: Path, target: str) -> None:
    shards, data, artifacts, image = (
        tmp_path / name for name in ("my shards", "my cells", "my own artifacts", "a b.bmp")
    )
    trained(artifacts, "resnet18")
    shards.mkdir()
    image.touch()
    variables = (
        f"SHARDS={shards}",
        f"DATA={data}",
        f"ARTIFACTS={artifacts}",
        f"IMAGES={image}",
        "STUDENT_ID=1",
        "NAME=A B",
    )
    words = given(tmp_path, target, *variables)
    for flag, value in (("--shards", shards), ("--data", data), ("--artifacts", artifacts), ("--name", "A B")):
        if flag in words:
            assert after(words, flag)[:1] == [str(value)]
    assert ("--shards" in words) == (target in (*TARGETS, "demo"))
    blanks = {word for word in words if " " in word}
    parts = tuple(map(str, (shards, data, artifacts, image, "A B")))
    assert blanks
    assert all(word.startswith(parts) for word in blanks), "and nothing else holds one"
    assert str(tmp_path / "my") not in words
    if target == "demo":
        assert words[-1] == str(image)
    if target == "verify":
        assert after(words, "verify")[:1] == [str(shards)]
        assert "--data" in words, "a folder of data is compared with, and not passed over"


@pytest.mark.parametrize("target", ["baseline", "export", "evaluate", "demo", "demo-web"])
def test_blanks_part_a_list_of_folders(tmp_path: Path, target: str) -> None:
    artifacts = trained(tmp_path / "artifacts", "resnet18")
    words = given(tmp_path, target, artifacts, "SHARDS=one two", "IMAGES=a.bmp b.bmp")
    wanted = ["one", "--shards", "two"] if target.startswith("demo") else ["one", "two"]
    place = words.index("--shards") + 1
    assert words[place : place + len(wanted)] == wanted
    assert target != "demo" or words[-2:] == ["a.bmp", "b.bmp"]
