"""Raw images through the recipe in the card, every exported network and their ensemble: a table, and pictures."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from contract.command import printable
from contract.counted import counted
from contract.errors import UserError
from evaluate.cell_image import SUFFIXES, read_cell
from evaluate.classify import Classified, Networks, Opinion, classify
from evaluate.pretrained import open_or_pretrained

LONGEST_STEM = 200  # bytes


@dataclass(frozen=True)
class Demo:
    """Classify raw images (BMP, PNG or JPEG, one cell on black) by every exported network; show where they look."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]  # image files, or folders of them
    artifacts: Path = Path("artifacts")  # folder of the exported networks; pictures go to ARTIFACTS/demo/
    shards: tyro.conf.UseAppendAction[tuple[Path, ...]] = (Path("shards"),)  # their training cells: images are compared
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto says which provider it took
    workers: int = 0  # onnxruntime threads; 0: one a core
    int8: bool = False  # take model.int8.onnx of every network
    pictures: bool = True  # write a picture of each image beside its class activation maps


def demo(command: Demo) -> list[Path]:
    """Print the table image x network and write one picture an image; returns the pictures' paths."""
    paths = find_images(command.images)
    for path in paths:  # all of them first: a bad file among many ends the demonstration before it begins
        read_cell(path)
    began = time.perf_counter()
    networks = open_or_pretrained(command.artifacts, command.shards, command.device, command.workers, command.int8)
    opened = time.perf_counter() - began
    found, pictures = {}, []
    for number, path in enumerate(tqdm(paths, unit="cell", leave=False, disable=None)):
        found[path] = classify(read_cell(path), networks, str(path))
        if command.pictures:
            pictures.append(command.artifacts / "demo" / f"{number:02d}-{_short(path.stem)}.png")
            try:
                _draw(path, found[path], networks, pictures[-1])
            except UserError as error:
                raise UserError(f'{error}: --no-pictures shows the table alone (make: FLAGS="--no-pictures")') from None
    console = Console(width=max(100, Console().width))
    console.print(_table(found, networks, opened))
    for path, classified in found.items():
        for concern in classified.concerns:
            said = f"[bold]![/] {escape(shown(path.name))}: {escape(printable(concern.text))}"
            console.print(said, highlight=False, soft_wrap=True)
    for picture in pictures:
        print(shown(picture))
    return pictures


def shown(name: str | Path) -> str:
    """A file's name as text: bytes that are no UTF-8 cannot be printed or drawn, and controls steer a terminal."""
    return printable(os.fsencode(name).decode(errors="replace"))


def _short(stem: str) -> str:
    """As much of an image's name as leaves room for what a picture's has more: file systems take 255 bytes."""
    data = os.fsencode(stem)
    return stem if len(data) <= LONGEST_STEM else data[:LONGEST_STEM].decode(errors="ignore")


def find_images(given: tuple[Path, ...]) -> list[Path]:
    """The image files among ``given``: files as they are named, folders by their images in the order of their numbers.

    One that is given twice, say by its name and in its folder, is taken once, where it comes first.

    Raises ``UserError`` for no image at all and for a folder without one.
    """
    if not given:
        raise UserError('no image: name files or a folder, e.g. make demo IMAGES="a.bmp b.bmp"')
    found = []
    for path in given:
        inside = _images_in(path)
        if not inside:
            raise UserError(f"{path}: no image in this folder: none ends in {', '.join(SUFFIXES)}")
        found += inside
    once: dict[str, Path] = {}
    for path in found:  # a link to an image is a name of its own
        once.setdefault(os.path.join(os.path.realpath(path.parent), path.name), path)
    return list(once.values())


def _images_in(path: Path) -> list[Path]:
    """A file itself, the images of a folder."""
    try:
        if not path.is_dir():
            return [path]
        return sorted((p for p in path.iterdir() if p.suffix.lower() in SUFFIXES), key=_natural)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _natural(path: Path) -> list[tuple[int, str]]:
    """2.bmp before 10.bmp."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _table(found: dict[Path, Classified], networks: Networks, opened: float) -> Table:
    first = next(iter(networks.predictors.values()))
    title = f"verdict and probability of {first.card.classes[1]}; networks trained on {first.card.dataset}"
    table = Table(
        title=escape(printable(title)),
        title_justify="left",
        show_lines=True,
        caption=f"{first.provider}, {counted(len(networks.predictors), 'network')} opened in {opened:.1f} s. "
        "Research and teaching; not a medical device.",
        caption_justify="left",
    )
    table.add_column("image", overflow="fold", min_width=8)
    for name in (*networks.predictors, "ensemble"):
        table.add_column(name, no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("unlike training cells", overflow="fold")
    for path, c in found.items():
        kinds = "\n".join(dict.fromkeys(concern.kind for concern in c.concerns))
        opinions = [_verdict(opinion) for opinion in (*c.opinions.values(), c.ensemble)]
        table.add_row(
            escape(shown(path.name)), *opinions, f"{c.milliseconds:.0f} ms", f"[bold]{kinds}[/]" if kinds else "no"
        )
    return table


def _verdict(opinion: Opinion) -> str:
    """Never by colour alone: the word says it, the colour helps."""
    colour = ("blue", "dark_orange3")[opinion.label]
    verdict = f"[{colour}]{escape(printable(opinion.name))}[/] {opinion.probability:.3f}"
    return f"{verdict}\n[dim]{opinion.milliseconds:.0f} ms[/]"


def _draw(path: Path, classified: Classified, networks: Networks, picture: Path) -> None:
    from evaluate.figures import draw_activation  # matplotlib takes a second: a mistake is told before that

    maps = {
        f"{arch}: {o.name} ({o.label}), P({classified.classes[1]}) {o.probability:.3f}": (o.crop, o.evidence)
        for arch, o in classified.opinions.items()
        if o.crop is not None and o.evidence is not None
    }
    dataset = next(iter(networks.predictors.values())).card.dataset
    title = f"{shown(path.name)} (networks trained on: {dataset})"
    draw_activation(classified.crop, maps, classified.classes, title, picture)
