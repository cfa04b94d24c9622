"""The student's Markdown as plain nodes: what is drawn, what is refused, and that the template counts as empty."""

from pathlib import Path

import pytest

from contract.errors import UserError
from evaluate.words import FILES, read_words

ROOT = Path(__file__).resolve().parent.parent


def _nodes(folder: Path, text: str) -> list[dict]:
    (folder / "introduction.md").write_text(text, encoding="utf-8")
    return read_words(folder).nodes["introduction"]


def _text(nodes: list[dict]) -> str:
    return "".join(node.get("text", "") + _text(node.get("children", [])) for node in nodes)


def test_the_template_has_every_file_a_hint_in_each_and_no_words() -> None:
    folder = ROOT / "docs" / "report-template"
    assert {path.name for path in folder.glob("*.md")} == {*FILES, "README.md"}
    assert all((folder / name).read_text(encoding="utf-8").startswith("<!--") for name in FILES)
    words = read_words(folder)
    assert words.empty == FILES
    assert not any(words.nodes.values())


def test_text_comes_through_as_it_is_written(tmp_path: Path) -> None:
    text = '#set text(red) $x^2$ @ref `#code` \\* 王小明 & "quotes" #import "x"'
    assert _text(_nodes(tmp_path, text)) == text.replace("`", "").replace("\\*", "*")


def test_blocks_and_their_nesting(tmp_path: Path) -> None:
    nodes = _nodes(
        tmp_path,
        "## Head\n\na **b *c***\n\n- one\n  1. two\n\n> quote\n\n| h |\n| - |\n| x |\n\n```\nraw\n```\n\n---\n",
    )
    assert [node["kind"] for node in nodes] == ["heading", "paragraph", "bullets", "quote", "table", "block", "hr"]
    assert [row["kind"] for part in nodes[4]["children"] for row in part["children"]] == ["row", "row"]
    (item,) = nodes[2]["children"]
    assert [node["kind"] for node in item["children"]] == ["paragraph", "numbers"]


def test_each_kind_of_text_keeps_its_kind_and_a_link_its_address(tmp_path: Path) -> None:
    (paragraph,) = _nodes(tmp_path, "*soft* **loud** `x  y` [there](https://example.org/a)\nnext  \nlast\n")
    kinds = [node["kind"] for node in paragraph["children"] if node.get("text") != " "]
    assert kinds == ["emphasis", "strong", "code", "link", "softbreak", "text", "hardbreak", "text"]
    (link,) = [node for node in paragraph["children"] if node["kind"] == "link"]
    assert (link["url"], _text(link["children"])) == ("https://example.org/a", "there")
    heading, block = _nodes(tmp_path, "## Head\n\n```\na\n\nb\n```\n")
    assert (heading["level"], _text([heading]), block) == (2, "Head", {"kind": "block", "text": "a\n\nb"})


def test_a_byte_order_mark_is_no_word(tmp_path: Path) -> None:
    assert _nodes(tmp_path, "\ufeff<!-- hint -->\n") == []
    assert [node["kind"] for node in _nodes(tmp_path, "\ufeffwords")] == ["paragraph"]


def test_a_comment_alone_is_no_words(tmp_path: Path) -> None:
    assert _nodes(tmp_path, "<!-- a hint\n\nover lines -->\n\nwords <!-- inside --> here") != []
    assert _nodes(tmp_path, "<!-- a hint\n\nover lines -->\n") == []
    assert "introduction.md" in read_words(tmp_path).empty


def test_a_picture_follows_its_paragraph_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    nodes = _nodes(tmp_path, "words ![shows](a.png) end\n\n> ![quoted](a.png)\n")
    assert [node["kind"] for node in nodes] == ["paragraph", "picture", "quote"]
    assert [node["kind"] for node in nodes[2]["children"]] == ["picture"]
    assert list(read_words(tmp_path).pictures) == ["words-00.png", "words-01.png"]


@pytest.mark.parametrize("name", ["圖1.png", "my picture.png", "100%.png"])
def test_a_picture_may_have_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    (node,) = _nodes(tmp_path, f"![shows](<{name}>)")
    assert node["kind"] == "picture"
    assert list(read_words(tmp_path).pictures.values()) == [tmp_path / name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("![x](%2e%2e/secret.png)", "must be a .png"),
        ("<script>x</script>", r"introduction\.md, line 1: '<script>"),
        ("a <b>b</b>", "HTML cannot be typeset"),
        ("<!-- hint --><b>b</b>", "'<b>b</b>': HTML cannot be typeset"),
        ("<!-- hint -->My words. <!-- todo -->\n\nMore.", "line 1: 'My words.': stands in the line of a comment"),
        ("Some.\n\n<!-- hint\n--> My words.", "'My words.': stands in the line of a comment"),
        ("![x](../secret.png)", "must be a .png"),
        ("![x](/etc/passwd)", "must be a .png"),
        ("![x](data.csv)", "must be a .png"),
        ("![x](out.png)", "must be a .png"),  # a link out of the folder
        ("![x](gone.png)", "there is no file"),
        ("![](here.png)", "say in words what it shows"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "here.png").write_bytes(b"x")
    (tmp_path / "out.png").symlink_to(ROOT / "README.md")
    with pytest.raises(UserError, match=words):
        _nodes(tmp_path, text)


def test_no_folder_and_no_utf8_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cp -r docs/report-template"):
        read_words(tmp_path / "gone")
    (tmp_path / "discussion.md").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"discussion\.md: cannot be read: not UTF-8"):
        read_words(tmp_path)


def test_a_picture_in_a_link_in_bold_or_in_a_heading_is_no_less_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    text = "See [![linked](a.png)](https://example.org) *here **![bold](a.png)***.\n\n"
    nodes = _nodes(tmp_path, text + "[![alone](a.png)](https://example.org/b)\n\n# ![head](a.png) end\n")
    assert [node["kind"] for node in nodes] == ["paragraph", *["picture"] * 3, "heading", "picture"]
    pictures = [(node["text"], node.get("url")) for node in nodes if node["kind"] == "picture"]
    linked = [("linked", "https://example.org"), ("bold", None), ("alone", "https://example.org/b"), ("head", None)]
    assert pictures == linked
    assert (_text(nodes[:1]), _text(nodes[4:5])) == ("See  here .", " end")
