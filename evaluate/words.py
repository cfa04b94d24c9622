"""The student's own words: Markdown files become a tree of plain nodes that the typesetter draws.

No text ever becomes markup of the typesetter: nodes cross as JSON, and `paper.typ` draws their strings as text.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from contract.errors import UserError
from contract.files import read_text

Node = dict[str, Any]
# Section of the course's report: the files whose words stand in it, in order. A subsection has a title of its own.
SECTIONS: dict[str, dict[str, str | None]] = {
    "Introduction": {"introduction": None},
    "Implementation": {
        "implementation-model": "The model",
        "implementation-loader": "The data loader",
        "implementation-confusion": "The confusion matrix",
    },
    "Preprocessing": {"preprocessing-how": "How", "preprocessing-special": "What is special"},
    "Results": {"results-accuracy": "Highest test accuracy", "results-comparison": "Comparison of the networks"},
    "Discussion": {"discussion": None},
}
FILES = tuple(f"{name}.md" for files in SECTIONS.values() for name in files)
COMMENT = re.compile("<!--.*?-->", re.S)
PICTURES = (".png", ".jpg", ".jpeg", ".svg")
# What is drawn: token of markdown-it -> kind of node.
CONTAINERS = {
    "paragraph": "paragraph",
    "bullet_list": "bullets",
    "ordered_list": "numbers",
    "list_item": "item",
    "blockquote": "quote",
    "em": "emphasis",
    "strong": "strong",
    "table": "table",
    "thead": "rows",
    "tbody": "rows",
    "tr": "row",
    "th": "cell",
    "td": "cell",
}


@dataclass(frozen=True)
class Words:
    """What the student wrote, by file name without suffix, and the pictures that it shows."""

    nodes: dict[str, list[Node]]
    pictures: dict[str, Path]  # name in the typesetter's folder: file
    empty: tuple[str, ...]  # files that are missing or hold no words yet


def read_words(folder: Path) -> Words:
    """Read the Markdown files of ``folder``; comments are left out, so a template of hints counts as empty.

    Raises ``UserError`` for a folder that is not there, a file that is not UTF-8, and Markdown that cannot be drawn.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: start from the template: cp -r docs/report-template {folder}")
    pictures: dict[str, Path] = {}
    nodes = {}
    for name in FILES:
        nodes[Path(name).stem] = _read(folder / name, pictures) if (folder / name).is_file() else []
    return Words(nodes, pictures, tuple(name for name in FILES if not nodes[Path(name).stem]))


def _read(path: Path, pictures: dict[str, Path]) -> list[Node]:
    text = read_text(path).removeprefix("\ufeff")  # the byte-order mark of some editors is no word
    return _tree(MarkdownIt("commonmark").enable("table").parse(text), path, pictures)


def _tree(tokens: list[Token], path: Path, pictures: dict[str, Path]) -> list[Node]:
    """Nest a flat list of opening, closing and single tokens."""
    root: Node = {"children": []}
    open_nodes = [root]
    for token in tokens:
        if token.nesting == -1:
            open_nodes.pop()
            continue
        if token.type == "inline":
            open_nodes[-1]["children"] += _tree(token.children or [], path, pictures)
            continue
        node = _node(token, path, pictures)
        if node is not None:
            open_nodes[-1]["children"].append(node)
        if token.nesting == 1 and node is not None:
            open_nodes.append(node)
    return _set_free(root["children"])


def _set_free(nodes: list[Node]) -> list[Node]:
    """A picture stands in a paragraph or a heading of Markdown; on paper a figure follows it."""
    free = []
    for node in nodes:
        if node["kind"] not in ("paragraph", "heading"):
            free.append({**node, "children": _set_free(node["children"])} if "children" in node else node)
            continue
        rest, pictures = _lift(node["children"])
        if not pictures or any(child["kind"] not in ("softbreak", "hardbreak") for child in rest):
            free.append({**node, "children": rest})
        free += pictures
    return free


def _lift(nodes: list[Node]) -> tuple[list[Node], list[Node]]:
    """What stands in a line without its pictures, and these: in a link or in bold, too, typst would pass over them."""
    rest, pictures = [], []
    for node in nodes:
        inner, found = _lift(node.get("children", []))
        pictures += [{"url": node["url"], **picture} for picture in found] if node["kind"] == "link" else found
        if node["kind"] == "picture":
            pictures.append(node)
        elif inner or not found:
            rest.append({**node, "children": inner} if "children" in node else node)
    return rest, pictures


def _node(token: Token, path: Path, pictures: dict[str, Path]) -> Node | None:
    """One token as a node; ``None`` for a comment."""
    if token.nesting == 1:
        kind = token.type.removesuffix("_open")
        if kind == "heading":
            return {"kind": "heading", "level": int(token.tag[1:]), "children": []}
        if kind == "link":
            return {"kind": "link", "url": str(token.attrs["href"]), "children": []}
        if kind == "ordered_list":
            return {"kind": CONTAINERS[kind], "start": int(token.attrs.get("start", 1)), "children": []}
        return {"kind": CONTAINERS[kind], "children": []}
    if token.type in ("text", "code_inline", "fence", "code_block"):
        kind = {"text": "text", "code_inline": "code"}.get(token.type, "block")
        return {"kind": kind, "text": token.content.rstrip("\n")}
    if token.type in ("softbreak", "hardbreak", "hr"):
        return {"kind": token.type}
    if token.type == "image":
        return _picture(token, path, pictures)
    where = f"{path}, line {token.map[0] + 1}" if token.map else str(path)
    words = COMMENT.sub("", token.content).strip()
    if not words:
        return None
    if "<" not in words:  # Markdown takes the rest of a comment's line for HTML too
        raise UserError(f"{where}: {words[:60]!r}: stands in the line of a comment, and would be lost: give it its own")
    raise UserError(f"{where}: {words[:60]!r}: HTML cannot be typeset; Markdown and comments can")


def _picture(token: Token, path: Path, pictures: dict[str, Path]) -> Node:
    """A picture of the student's: a file below the words' own folder, with words for those who cannot see it."""
    source = unquote(str(token.attrs["src"]))  # Markdown's parser writes blanks and other letters as %20
    file = path.parent / source
    if not file.resolve().is_relative_to(path.parent.resolve()) or file.suffix.lower() not in PICTURES:
        raise UserError(f"{path}: picture {source!r}: must be a {', '.join(PICTURES)} file in {path.parent}")
    if not file.is_file():
        raise UserError(f"{path}: picture {source!r}: there is no file {file}")
    if not token.content:
        raise UserError(f"{path}: picture {source!r}: say in words what it shows: ![words]({source})")
    name = f"words-{len(pictures):02d}{file.suffix.lower()}"
    pictures[name] = file
    return {"kind": "picture", "file": name, "text": token.content}
