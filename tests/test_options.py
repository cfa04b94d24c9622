"""Every option of every command says in --help what it is."""

import io
import re
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import tyro

from evaluate.cli import COMMANDS

OTHERS = (
    *(("build_shards.cli", name) for name in ("Audit", "Build", "Preview", "Synthetic", "Verify")),
    *(("export.cli", name) for name in ("Card", "Export", "Restore")),
    ("train.baseline", "Config"),
    ("train.config", "Config"),
    ("benchmarks.ablation", "Ablation"),
    ("benchmarks.ablation_table", "Finished"),
    ("benchmarks.at_test_time", "TestTime"),
    *((f"benchmarks.{name}", "Bench") for name in ("convolution", "formats", "inference", "loader", "shards", "train")),
    ("benchmarks.joined_people", "JoinedPeople"),
    ("benchmarks.leakage", "Leakage"),
    ("benchmarks.learning_curves", "Curves"),
    ("benchmarks.web_start", "Benchmark"),
)
NAMED = [*((module, name) for module, name, _ in COMMANDS.values()), *OTHERS]
DEFAULT = r"\((default: .*|required|optional)\)"
ROOT = Path(__file__).resolve().parent.parent
GUIDES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
)
OF_OTHER_PROGRAMS = {"--help", "--logdir", "--no-", "--nproc-per-node"}
OF_COMMAND = {
    **{f"evaluate {word}": (module, name) for word, (module, name, _) in COMMANDS.items()},
    **{f"{module.removesuffix('.cli')} {name.lower()}": (module, name) for module, name in OTHERS if ".cli" in module},
    **{module: (module, name) for module, name in OTHERS if module.startswith("benchmarks.")},
    "export": ("export.cli", "Export"),
    "train": ("train.config", "Config"),
    "train baseline": ("train.baseline", "Config"),
}


def _explained(help_text: str) -> dict[str, str]:
    """What a command's help says of each option, by its flags, without the default that tyro adds."""
    said: dict[str, str] = {}
    for line in help_text.splitlines():
        words = line[2:].rstrip("│ ")
        if line[:2] not in ("│ ", "  "):  # of a box, drawn or in ASCII
            continue
        if words.startswith("-"):  # flags, and what they are if there is room
            flags, _, words = words.partition("  ")
            said[flags] = words.strip()
        elif said:
            said[flags] = f"{said[flags]} {words.strip()}".strip()
    return {flags: re.sub(DEFAULT, "", words).strip() for flags, words in said.items()}


@cache
def _options(module: str, name: str) -> dict[str, str]:
    """What `--help` of a command says of each option."""
    said = io.StringIO()
    with pytest.raises(SystemExit), redirect_stdout(said):
        tyro.cli(getattr(import_module(module), name), args=["--help"])
    return _explained(said.getvalue())


@pytest.mark.parametrize(("module", "name"), NAMED, ids=lambda value: value)
def test_every_option_is_explained(module: str, name: str) -> None:
    explained = _options(module, name)
    assert "-h, --help" in explained
    assert [flags for flags, words in explained.items() if not words] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_options_that_a_guide_names_are_there(guide: str) -> None:
    there = set(re.findall(r"--[a-z][a-z0-9-]*", " ".join(flags for one in NAMED for flags in _options(*one))))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", (ROOT / guide).read_text("utf-8")))
    assert named
    assert named - there - OF_OTHER_PROGRAMS == set()


def _commands(text: str) -> list[tuple[str, set[str]]]:
    """Each ``python -m`` command of a document, and the options that its line names, in its comment too."""
    lines = re.findall(r"python -m (\w[^\n`]*)", text.replace("\\\n", " "))
    words = [(line.split(), set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", line))) for line in lines]
    return [(two if (two := " ".join(w[:2])) in OF_COMMAND else w[0], options) for w, options in words]


def test_a_command_of_a_guide_has_the_options_beside_it() -> None:
    said = [(guide, *found) for guide in GUIDES for found in _commands((ROOT / guide).read_text("utf-8"))]
    known = [(guide, command, named) for guide, command, named in said if command in OF_COMMAND]
    assert len(known) > 50
    for guide, command, named in known:
        there = set(re.findall(r"--[a-z][a-z0-9-]*", " ".join(_options(*OF_COMMAND[command]))))
        assert named - there - {"--help"} == set(), f"{guide}: python -m {command}"


def test_an_option_without_words_is_found() -> None:
    lines = ("--a INT    one (default: 1)", "--b {None}|PATH", "           (default: None)", "--c, --no-c", "  three")
    text = "\n".join(f"│ {line:40} │" for line in lines)
    assert _explained(text) == {"--a INT": "one", "--b {None}|PATH": "", "--c, --no-c": "three"}
