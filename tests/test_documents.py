"""The documents' links within the repository lead to files and headings that are there, and CONTRIBUTING to modules.

No document holds a merge that was left open.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for folder in ("", "docs", "train", "shards", "artifacts")
    for path in (ROOT / folder).glob("*.md")
)
TEMPLATE = sorted(path.relative_to(ROOT) for path in (ROOT / "docs/report-template").glob("*.md"))
MODULE = re.compile(r"`((?:[a-z_]+/)?[\w.]+\.(?:py|typ|md))`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CONFLICT = re.compile(r"^(?:<{7}|>{7}) .*$", re.M)


def _anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document: words in lower case, joined by hyphens."""
    headings = re.findall(r"^#{1,6} (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _dead(document: Path) -> list[str]:
    dead = []
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text(encoding="utf-8"))):
            dead.append(link)
    return dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_to_what_is_there(document: Path) -> None:
    assert not _dead(ROOT / document)


@pytest.mark.parametrize("document", [*DOCUMENTS, *TEMPLATE], ids=str)
def test_no_merge_was_left_open(document: Path) -> None:
    assert CONFLICT.findall((ROOT / document).read_text(encoding="utf-8")) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    lines = (
        "## Of *two* words: here",
        "```",
        "# no heading",
        "```",
        "[](a.md#of-two-words-here) [](https://x.org/y#z)",
    )
    document.write_text("\n".join((*lines, "[](#no-heading) [](b.md) [](#of-two-words)")), encoding="utf-8")
    assert _dead(document) == ["#no-heading", "b.md", "#of-two-words"]


def test_contributing_sends_to_modules_that_are_there() -> None:
    rooms = [ROOT / name for name in ("build_shards", "contract", "train", "export", "evaluate", "benchmarks")]
    named = MODULE.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert len(named) > 60
    assert [name for name in named if not any((folder / name).is_file() for folder in (ROOT, *rooms))] == []
