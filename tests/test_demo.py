"""The demonstration in the terminal: which images it takes, in which order, and what it says of them."""

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from two_networks import write_network

from contract.errors import UserError
from contract.model_card import ModelCard
from evaluate.cell_image import CellImage
from evaluate.classify import Classified, Networks, Opinion
from evaluate.demo import Demo, _draw, _table, _verdict, demo, find_images, shown
from evaluate.predictor import exported_networks
from evaluate.unlike import Concern

WriteImage = Callable[[Path, np.ndarray], Path]


def test_a_folder_is_taken_in_the_order_of_its_numbers_and_what_is_unlike_is_said(
    exported: Path, shards: Path, tmp_path: Path, write_image: WriteImage, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (10, 9):
        write_image(tmp_path / f"{number}.bmp", np.full((60, 60, 3), 40, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    assert demo(Demo((tmp_path,), exported, (shards,), device="cpu", pictures=False)) == []
    printed = capsys.readouterr().out
    assert 0 < printed.index("9.bmp") < printed.index("10.bmp")
    assert printed.count("no black background: 100% of the image's edge") == 2
    assert not (exported / "demo").exists()


@pytest.mark.parametrize("name", [b"cell $1_{x and $2.bmp", b"caf\xe9.bmp", b"[red]a[bold].bmp"])
def test_an_image_may_have_any_name(
    name: bytes,
    exported: Path,
    shards: Path,
    synthetic_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # the name on one line
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    shutil.copy(synthetic_data / "synthetic" / "valid" / "1.bmp", path)
    shutil.copytree(exported / "resnet18", tmp_path / "networks" / "resnet18")
    (picture,) = demo(Demo((path,), tmp_path / "networks", (shards,), device="cpu"))
    assert picture.is_file()
    assert f" {name.decode(errors='replace')} " in capfd.readouterr().out


def test_where_no_picture_can_be_written_the_way_without_is_named(
    exported: Path, shards: Path, synthetic_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported / "resnet18", tmp_path / "resnet18")
    (tmp_path / "demo").touch()
    image = synthetic_data / "synthetic" / "valid" / "1.bmp"
    with pytest.raises(UserError, match=r"demo/00-1\.png: cannot be written: .*: --no-pictures shows the table alone"):
        demo(Demo((image,), tmp_path, (shards,), device="cpu"))


def test_what_would_steer_a_terminal_is_shown_as_what_it_is_not() -> None:
    assert shown(Path("two\nlines \x1b[2J\x9b.bmp")) == "two\ufffdlines \ufffd[2J\ufffd.bmp"


def test_a_picture_s_name_leaves_out_what_an_image_s_has_too_much(
    exported: Path, shards: Path, synthetic_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"{'é' * 120}.bmp"  # 244 bytes; its picture's would have more than the 255 of a file system
    shutil.copy(synthetic_data / "synthetic" / "valid" / "1.bmp", path)
    shutil.copytree(exported / "resnet18", tmp_path / "networks" / "resnet18")
    (picture,) = demo(Demo((path,), tmp_path / "networks", (shards,), device="cpu"))
    assert (picture.is_file(), picture.name) == (True, f"00-{'é' * 100}.png")


def test_brackets_in_the_name_of_the_cells_are_no_markup(
    card: ModelCard, shards: Path, synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_network(tmp_path, replace(card, dataset="cells [fold 1] [/]"), 1)
    image = synthetic_data / "synthetic" / "valid" / "1.bmp"
    demo(Demo((image,), tmp_path, (shards,), device="cpu", pictures=False))
    assert "networks trained on cells [fold 1] [/]" in " ".join(capsys.readouterr().out.split())


def test_what_a_card_says_steers_no_terminal(
    card: ModelCard, shards: Path, synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = ("\x1b[31mnormal", "\x1b[31mblast")
    write_network(tmp_path, replace(card, dataset="cells \x1b]0;title\x07\x1b[2J", classes=classes), 1)
    image = synthetic_data / "synthetic" / "valid" / "1.bmp"
    demo(Demo((image,), tmp_path, (shards,), device="cpu", pictures=False))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "cells \ufffd]0;title\ufffd\ufffd[2J" in " ".join(printed.split())


def test_folders_that_may_not_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    for name in ("iterdir", "is_file"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(UserError, match=rf"{tmp_path}: cannot be read: Permission denied"):
        find_images((tmp_path,))
    with pytest.raises(UserError, match=rf"{tmp_path}: cannot be read: Permission denied"):
        exported_networks(tmp_path)


def test_files_and_folders_mix_and_keep_their_order(tmp_path: Path, write_image: WriteImage) -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    names = ["b/2.PNG", "b/10.png", "b/x.jpeg", "a.bmp"]
    paths = [write_image(tmp_path / name, black) for name in names]
    assert find_images((tmp_path / "b", tmp_path / "a.bmp")) == paths


def test_an_image_given_twice_is_shown_once(
    exported: Path, shards: Path, tmp_path: Path, write_image: WriteImage, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.bmp", np.full((60, 60, 3), 40, np.uint8))
    (tmp_path / "link").symlink_to(tmp_path)
    shutil.copytree(exported, tmp_path / "artifacts")
    given = (tmp_path / "b.bmp", tmp_path, tmp_path / "link" / "a.bmp", tmp_path / "b.bmp")
    pictures = demo(Demo(given, tmp_path / "artifacts", (shards,), device="cpu"))
    assert [picture.name for picture in pictures] == ["00-b.png", "01-a.png"]
    shown = capsys.readouterr().out
    assert shown.count("b.bmp: no black background") == shown.count("a.bmp: no black background") == 1


def test_a_link_to_an_image_is_an_image_of_its_own(tmp_path: Path, write_image: WriteImage) -> None:
    image, link = write_image(tmp_path / "1.bmp", np.zeros((4, 4, 3), np.uint8)), tmp_path / "2.bmp"
    link.symlink_to(image)
    assert find_images((tmp_path, link)) == [image, link]


@pytest.mark.parametrize(
    ("images", "words"),
    [((), "no image: name files or a folder"), ((".",), "no image in this folder"), (("gone.bmp",), "cannot be read")],
)
def test_no_image_is_a_mistake_told_before_a_network_is_opened(
    images: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        demo(Demo(tuple(tmp_path / image for image in images), tmp_path / "nowhere"))


def test_a_bad_image_among_many_is_told_before_a_network_is_opened(
    tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluate.demo.open_or_pretrained", lambda *_: pytest.fail("a network was opened"))
    write_image(tmp_path / "1.bmp", np.full((60, 60, 3), 40, np.uint8))
    (tmp_path / "2.bmp").write_text("no image")
    with pytest.raises(UserError, match=r"2\.bmp: not a BMP, PNG or JPEG image"):
        demo(Demo((tmp_path,), tmp_path / "artifacts"))


def test_each_image_is_judged_by_its_own_pixels(
    tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_image(tmp_path / f"{grey}.bmp", np.full((60, 60, 3), grey, np.uint8)) for grey in (40, 90)]
    asked: list[tuple[int, str]] = []

    def judge(cell: CellImage, _: object, source: str) -> None:
        asked.append((int(cell.pixels.max()), source))
        if len(asked) == len(paths):
            raise UserError("enough")

    monkeypatch.setattr("evaluate.demo.open_or_pretrained", lambda *_: None)
    monkeypatch.setattr("evaluate.demo.classify", judge)
    with pytest.raises(UserError, match="enough"):
        demo(Demo(tuple(paths), tmp_path, pictures=False))
    assert asked == [(40, str(paths[0])), (90, str(paths[1]))]


@pytest.fixture
def classified() -> tuple[Classified, Networks]:
    """What two networks of HEM and ALL say of a cell, by hand."""
    crop = np.full((8, 8, 3), 90, np.uint8)
    opinions = {
        "resnet18": Opinion(1, "ALL", 0.8, 0.5, 12.4, np.ones((2, 2), np.float32), crop),
        "resnet50": Opinion(0, "HEM", 0.3, 0.5, 30.6, np.zeros((2, 2), np.float32), crop + 1),
    }
    ensemble = Opinion(1, "ALL", 0.55, 0.5, 43.0, None, None)
    told = tuple(Concern(kind, "a sentence") for kind in ("size", "size", "stain"))
    card = SimpleNamespace(classes=("HEM", "ALL"), dataset="some cells")
    predictors: Any = {name: SimpleNamespace(card=card, provider="CPUExecutionProvider") for name in opinions}
    return Classified(crop, opinions, ensemble, ("HEM", "ALL"), told, 51.2), Networks(predictors, {})


def test_each_opinion_stands_below_its_network(classified: tuple[Classified, Networks]) -> None:
    found, networks = classified
    table = _table({Path("a.bmp"): found, Path("b.bmp"): replace(found, concerns=())}, networks, 2.5)
    console = Console(width=160, file=io.StringIO())
    with console.capture() as captured:
        console.print(table)
    text = captured.get()
    rows = [[cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")] for line in text.splitlines()]
    lines = [row for row in rows if len(row) == 6]
    assert lines[0] == ["image", "resnet18", "resnet50", "ensemble", "time", "unlike training cells"]
    assert lines[1] == ["a.bmp", "ALL 0.800", "HEM 0.300", "ALL 0.550", "51 ms", "size"]
    assert lines[2] == ["", "12 ms", "31 ms", "43 ms", "", "stain"]
    assert lines[3][-1] == "no"
    colours = {o.name: _verdict(o).split("]")[0] for o in found.opinions.values()}
    assert colours == {"ALL": "[dark_orange3", "HEM": "[blue"}  # as in every picture
    words = " ".join(text.split())
    assert "verdict and probability of ALL; networks trained on some cells" in words
    assert "CPUExecutionProvider, 2 networks opened in 2.5 s" in words


def test_each_map_has_its_network_s_verdict_cell_and_evidence(
    classified: tuple[Classified, Networks], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[tuple[Any, ...]] = []
    monkeypatch.setattr("evaluate.figures.draw_activation", lambda *given: drawn.append(given))
    found, networks = classified
    _draw(Path("a.bmp"), found, networks, tmp_path / "00-a.png")
    ((crop, maps, classes, title, path),) = drawn
    assert list(maps) == ["resnet18: ALL (1), P(ALL) 0.800", "resnet50: HEM (0), P(ALL) 0.300"]
    for (seen, evidence), opinion in zip(maps.values(), found.opinions.values(), strict=True):
        assert seen is opinion.crop
        assert evidence is opinion.evidence
    assert (crop is found.crop, classes, path) == (True, ("HEM", "ALL"), tmp_path / "00-a.png")
    assert title == "a.bmp (networks trained on: some cells)"
