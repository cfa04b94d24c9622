"""Every option of every command says in --help what it is."""

import re
from importlib import import_module

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


@pytest.mark.parametrize(("module", "name"), NAMED, ids=lambda value: value)
def test_every_option_is_explained(module: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(getattr(import_module(module), name), args=["--help"])
    explained = _explained(capsys.readouterr().out)
    assert "-h, --help" in explained
    assert [flags for flags, words in explained.items() if not words] == []


def test_an_option_without_words_is_found() -> None:
    lines = ("--a INT    one (default: 1)", "--b {None}|PATH", "           (default: None)", "--c, --no-c", "  three")
    text = "\n".join(f"│ {line:40} │" for line in lines)
    assert _explained(text) == {"--a INT": "one", "--b {None}|PATH": "", "--c, --no-c": "three"}
