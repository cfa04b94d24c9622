"""`make help` and the one-line answers of targets that miss an argument; nothing here installs anything."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from make_command import ROOT, make, trained

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def test_help_lists_every_public_target_with_one_line() -> None:
    targets = make("help").stdout.split("\n\n")[0]
    listed = dict(re.split(r"\s+", line, maxsplit=1) for line in targets.splitlines())
    promised = {"synthetic", "setup", "shards", "train", "export", "evaluate", "demo", "test", "help", "clean"}
    assert promised <= listed.keys()
    assert all(len(text) > 10 for text in listed.values())
    assert len({line.index(listed[line.split()[0]]) for line in targets.splitlines()}) == 1, "in one column"


@pytest.mark.parametrize(
    ("target", "variable"),
    [
        *((target, "DATA") for target in ("shards", "audit", "preview", "course")),
        *((target, "STUDENT_ID") for target in ("report", "handin")),
    ],
)
def test_a_missing_argument_is_named(target: str, variable: str) -> None:
    done = make(target)
    assert done.returncode == 2
    assert f"error: {variable} is not set" in done.stderr


def test_the_demo_draws_its_own_cells_where_no_image_is_given() -> None:
    plan = make("-n", "demo").stdout
    assert "build_shards synthetic" in plan or (ROOT / "artifacts" / "synthetic" / "data" / "train.csv").is_file()
    assert re.search(r"evaluate demo .* artifacts/synthetic/data/synthetic/valid/0\.bmp", plan.replace("\\\n", ""))
    assert "synthetic/valid" not in make("-n", "demo", "IMAGES=a.bmp").stdout


def test_steps_never_run_side_by_side(tmp_path: Path) -> None:
    stub = tmp_path / "python"  # fails where another one runs
    stub.write_text(f'#!/bin/sh\nmkdir "{tmp_path}/busy" || exit 1\nsleep 0.02\nrmdir "{tmp_path}/busy"\n')
    stub.chmod(0o755)
    done = make("-j4", "synthetic", f"PY={stub}", f"SYNTHETIC={tmp_path}/synthetic")
    assert done.returncode == 0, done.stderr


def test_the_course_makes_its_results_of_one_build() -> None:
    changed = ["COURSE_SIZE=64", "COURSE_FROM_resnet152=", "COURSE_REFIT="]
    plan = make("-n", "course", "DATA=x", "SHARDS=s", *changed).stdout
    assert "--initial" not in plan
    assert "refit" not in plan
    assert re.search(r'build_shards build .*--shards "s/64px".*\n\s+--split given --size 64 ', plan)
    trainings = [f"train --resume --arch {arch}" for arch in ("resnet18", "resnet50", "resnet152")]
    for step in (*trainings, "train baseline", "evaluate/run.py"):
        assert re.search(rf'{step} --shards "?s/64px"? ', plan), step
    assert "evaluate publish" in plan
    flagged = make("-n", "course", "DATA=x", "COURSE_FLAGS_evaluate=--orientations 8", "FLAGS=--lr 0.123").stdout
    assert re.search(r"evaluate/run\.py .*--orientations 8", flagged)
    assert "0.123" not in flagged, "flags of one step are no flags of another"


def test_the_course_s_refit_differs_from_its_counterpart_in_what_it_learns_alone() -> None:
    plan = make("-n", "course", "DATA=x", "SHARDS=s", "ARTIFACTS=a", "COURSE_REFIT=resnet152", "COURSE_UNSEEN=").stdout
    lines = [line for line in plan.replace("\\\n", "").splitlines() if line.startswith(".venv/bin/python")]
    lines = [" ".join(line.split()) for line in lines]
    (network,) = [line for line in lines if '--arch resnet152 --shards "s/112px" --artifacts "a" ' in line]
    refit, *after = [line for line in lines if "a/refit" in line]
    assert refit == network.replace('--artifacts "a"', '--artifacts "a/refit"') + " --refit"
    assert "--initial a/resnet50/best.pt" in refit
    steps = ["-m export", "-m evaluate answers", "-m evaluate publish"]
    assert [next(step for step in steps if step in line) for line in after] == steps
    assert after[0].endswith('--artifacts "a/refit" --shards s/112px --data "x" --counterpart a')
    assert after[-1].endswith('--artifacts "a" --out "docs/results/course" --refit a/refit')


def test_networks_for_people_never_seen_are_trainings_of_their_own() -> None:
    assert "unseen" not in make("-n", "course", "DATA=x", "COURSE_UNSEEN=").stdout
    chosen = ["COURSE_UNSEEN=resnet50 resnet152", "COURSE_UNSEEN_resnet50=--epochs 5", "COURSE_UNSEEN_resnet152=--lr 1"]
    plan = make("-n", "course", "DATA=x", "SHARDS=s", "ARTIFACTS=a", "COURSE_REFIT=", *chosen).stdout
    lines = [" ".join(line.split()) for line in plan.replace("\\\n", "").splitlines() if "a/unseen" in line]
    lines = [line for line in lines if line.startswith(".venv/bin/python")]
    steps = ["--arch resnet50", "--arch resnet152", "-m export", "-m evaluate answers", "-m evaluate publish"]
    assert [next(step for step in steps if step in line) for line in lines] == steps
    assert lines[0].endswith('--artifacts "a/unseen" --threads 2 --epochs 5')
    assert lines[1].endswith('--artifacts "a/unseen" --threads 2 --lr 1 --initial a/unseen/resnet50/best.pt')
    assert "counterpart" not in plan
    assert lines[-1].endswith('--artifacts "a" --out "docs/results/course" --unseen a/unseen')


def test_a_name_counts_where_the_command_gives_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "MyComputer")  # as WSL does
    assert "MyComputer" not in make("-n", "shards", "DATA=x").stdout
    assert "--name 'My cells'" in make("-n", "shards", "DATA=x", "NAME=My cells").stdout
    assert "--name 'Ada'" in make("-n", "handin", "STUDENT_ID=0123456", "NAME=Ada").stdout
    assert "MyComputer" not in make("-n", "handin", "STUDENT_ID=0123456").stdout


def _virtual_environment(folder: Path, python: str) -> Path:
    """A folder with the project's Makefile and a set-up that is finished, whose Python is the script ``python``."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin" / "python").write_text(f"#!/bin/sh\n{python}\n")
    (folder / ".venv" / "bin" / "python").chmod(0o755)
    (folder / ".venv" / ".installed").touch()
    return folder


@pytest.mark.parametrize(
    ("python", "words", "cleared"),
    [
        (f'exec "{sys.executable}" "$@"', (), False),
        (f'exec "{sys.executable}" "$@"', (f"PYTHON={sys.executable}",), False),
        ("exit 1", (), True),  # its Python is gone, or has no pip any more
        ('case "$2" in *print*) echo "(3, 99)";; esac', (f"PYTHON={sys.executable}",), True),  # another is asked for
        ('case "$2" in *print*) echo "(3, 99)";; esac', (), False),
    ],
)
def test_setup_mends_a_virtual_environment_that_is_none_any_more(
    python: str, words: tuple[str, ...], cleared: bool, tmp_path: Path
) -> None:
    folder = _virtual_environment(tmp_path, python)
    done = subprocess.run(
        ["make", "-n", "setup", *words], cwd=folder, capture_output=True, text=True, check=True, env=os.environ
    )
    assert ("pip install" in done.stdout) is cleared


@pytest.mark.parametrize("alive", [True, False])
def test_what_is_in_a_virtual_environment_stays_where_its_python_runs(alive: bool, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text("")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    (tmp_path / ".venv" / ".installed").touch()
    (tmp_path / ".venv" / "torch").touch()  # which somebody put there, say
    python = tmp_path / ".venv" / "bin" / "python"
    if not alive:
        for name in ("python", "python3", Path(sys.executable).name, f"python3.{sys.version_info[1]}"):
            (python.parent / name).unlink(missing_ok=True)
        python.symlink_to("/nowhere/python")
    subprocess.run(["make", "setup", f"PYTHON={sys.executable}"], cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / ".venv" / "torch").exists() is alive
    subprocess.run([python, "-c", "import pip"], check=True)


def test_folders_of_one_name_do_not_hide_targets() -> None:
    for target in ("shards", "train", "export", "evaluate"):
        plan = make("-n", target, "DATA=x").stdout
        assert ".venv/bin/python" in plan, f"make {target} would do nothing"


def test_export_is_made_anew_with_the_folder_of_raw_images(tmp_path: Path) -> None:
    (tmp_path / "resnet50").mkdir()
    for name in ("best.pt", "model.onnx"):
        (tmp_path / "resnet50" / name).touch()
    artifacts = f"ARTIFACTS={tmp_path}"
    assert _exports(artifacts) == []
    plan = make("-n", "export", artifacts, "DATA=my cells", "FLAGS=--operating-point 0.95").stdout
    assert f'-m export --arch resnet50 --artifacts "{tmp_path}"' in plan
    assert '--data "my cells" --operating-point 0.95' in plan


def _exports(*arguments: str) -> list[str]:
    """What ``make export`` would run, one command a network."""
    plan = make("-n", "export", *arguments).stdout
    return [line for line in plan.splitlines() if "-m export" in line]


def test_export_is_made_anew_with_shards_that_are_named(tmp_path: Path) -> None:
    artifacts = trained(tmp_path, "resnet18", "resnet50")
    assert _exports(artifacts) == []
    found = _exports(artifacts, "SHARDS=right also")
    assert [re.findall(r"--arch (\S+) .*--shards right also ", line) for line in found] == [["resnet18"], ["resnet50"]]


def test_export_of_one_network_leaves_the_others(tmp_path: Path) -> None:
    artifacts = trained(tmp_path, "resnet18", "resnet50")
    (found,) = _exports(artifacts, "FORCE=1", "ARCH=resnet50")
    assert "--arch resnet50 " in found
    assert len(_exports(artifacts, "FORCE=1", "ARCH=all")) == len(_exports(artifacts, "FORCE=1")) == 2
    (untrained,) = _exports(artifacts, "ARCH=resnet152")
    assert "--arch resnet152 " in untrained, "the command says what is missing"
    (untrained,) = _exports(f"ARTIFACTS={tmp_path / 'none'}")
    assert "--arch all " in untrained


def test_export_is_made_anew_where_it_is_older_than_its_training_or_gone(tmp_path: Path) -> None:
    artifacts = trained(tmp_path, "resnet18", "resnet50", "resnet152")
    os.utime(tmp_path / "resnet18" / "best.pt", (2e9, 2e9))
    (tmp_path / "resnet152" / "model.onnx").unlink()
    assert [re.findall(r"--arch (\S+)", line) for line in _exports(artifacts)] == [["resnet18"], ["resnet152"]]


@pytest.mark.parametrize("end", ["exit 2", "kill -INT $PPID; sleep 1", "kill -TERM $PPID; sleep 1"])
def test_a_step_that_fails_or_is_stopped_after_publishing_deletes_nothing(tmp_path: Path, end: str) -> None:
    artifacts = trained(tmp_path / "artifacts", "resnet50")
    model = tmp_path / "artifacts" / "resnet50" / "model.onnx"
    stub = tmp_path / "python"
    stub.write_text(f"#!/bin/sh\necho newer > {model}\n{end}\n")
    stub.chmod(0o755)
    done = make("export", artifacts, "FORCE=1", f"PY={stub}")
    assert done.returncode != 0
    assert model.read_text() == "newer\n"


def test_the_course_ends_where_a_training_fails(tmp_path: Path) -> None:
    stub, log = tmp_path / "python", tmp_path / "log"
    stub.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncase "$*" in *"--arch resnet50"*) exit 1;; esac\n')
    stub.chmod(0o755)
    assert make("course", "DATA=x", f"SHARDS={tmp_path}/s", f"ARTIFACTS={tmp_path}/a", f"PY={stub}").returncode == 2
    assert re.findall(r"--arch (\S+)", log.read_text()) == ["resnet18", "resnet50"]


def test_make_alone_goes_from_drawn_cells_to_a_report_of_every_column(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    command = ["make", "-n", "-o", ".venv/.installed"]
    plan = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    steps = [" ".join(line.split()) for line in plan.replace("\\\n", "").splitlines() if ".venv/bin/python" in line]
    first, build, *rest, report, summary = steps
    assert "build_shards synthetic" in first
    assert "build_shards build" in build
    assert sum("-m train baseline" in step for step in rest) == 1
    for arch in ("resnet18", "resnet50", "resnet152"):
        training, export = [step for step in rest if f"--arch {arch} " in step]
        assert "-m train " in training
        assert "-m export " in export
        assert training.endswith("--force"), "what broke off is made anew"
    assert build.endswith("--force")
    assert "evaluate/run.py" in report
    assert "-m evaluate summary" in summary


@pytest.mark.parametrize("variable", ["SHARDS", "ARTIFACTS"])
def test_the_course_refuses_folders_with_blanks_in_one_line(tmp_path: Path, variable: str) -> None:
    done = make("course", "DATA=x", f"{variable}={tmp_path}/my folder", "PY=false")
    assert done.returncode == 2
    (line, end) = done.stderr.splitlines()
    assert line.startswith("error: SHARDS and ARTIFACTS: make course")
    assert re.match(r"make(\[\d+\])?: \*\*\*", end)  # in `make test` this make is the second one
