"""What the documents point at is there: files, headings, and the modules that CONTRIBUTING sends to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OTHERS = (ROOT / "shards/README.md", ROOT / "artifacts/README.md")
DOCUMENTS = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *OTHERS))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MODULE = re.compile(r"`((?:[a-z_]+/)?[\w.]+\.(?:py|typ|md))`")


def _headings(text: str) -> set[str]:
    """The anchors that GitHub makes of a document's headings: lower case, no punctuation, blanks as hyphens."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^#+ (.*)$", prose, flags=re.MULTILINE)
    words = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line).strip().lower() for line in lines]
    return {re.sub(r"[^\w\- ]", "", word).replace(" ", "-") for word in words}


def _astray(document: Path) -> list[str]:
    """The links of a document that lead to no file beside it, or to no heading of that file."""
    wrong = []
    for link in LINK.findall(document.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in _headings(target.read_text("utf-8"))):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_its_heading(document: Path) -> None:
    assert _astray(document) == []


def test_a_link_astray_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# What is, *here*\n\n```\n# no heading\n```\n")
    right = "[a](there.md#what-is-here) [b](https://x.org/gone) [c](#mine)\n# Mine\n"
    (tmp_path / "from.md").write_text(f"{right}[d](there.md#no-heading) ![e](gone.png) [f](#none)\n")
    assert _astray(tmp_path / "from.md") == ["there.md#no-heading", "gone.png", "#none"]


def test_contributing_sends_to_modules_that_are_there() -> None:
    rooms = [ROOT / name for name in ("build_shards", "contract", "train", "export", "evaluate", "benchmarks")]
    named = MODULE.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert len(named) > 60
    assert [name for name in named if not any((folder / name).is_file() for folder in (ROOT, *rooms))] == []
