"""The formats of a stored image beside each other: bytes, milliseconds, and what a network loses.

    PYTHONPATH=. python benchmarks/formats.py --shards shards --network artifacts/resnet18/model.onnx

The pixels are those of lossless shards, each stored and read again in every format, in turn, on one core; for every
image the best of the repeats counts. Peer: the JPEG that people write, the cell on black without a mask, taken as
OpenCV reads it. Without --shards, synthetic cells are drawn; without --network the columns on accuracy stay empty.
"""

import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.counts import refuse_counts
from build_shards.dataset import read_dataset
from build_shards.preprocess import cell_mask
from build_shards.shards import build
from build_shards.synthetic import write_synthetic
from contract.command import run_command
from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.pixels import Image, decode_pixels, encode_pixels
from contract.recipe import Recipe
from contract.shard_reader import SplitReader
from evaluate.predictor import Predictor

QUALITIES = (75, 90, 95)
BORDER = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Bench:
    """Bytes, milliseconds and accuracy of every format of a stored image."""

    shards: Path | None = None  # folder of lossless shards; default: synthetic cells are drawn and built
    network: Path | None = None  # an exported network that was trained on them
    split: str = "valid"  # a labelled split of the shards
    cells: int = 200  # cells to time, the first of the split; accuracy is on the whole split
    repeats: int = 3  # the best one counts, image by image


@dataclass(frozen=True)
class Format:
    """A way to store an image."""

    name: str
    encode: Callable[[Image], dict[str, bytes]]
    decode: Callable[[dict[str, bytes]], Image]


def main() -> None:
    """Store and read the cells in every format, and print the table."""
    command = tyro.cli(Bench, description=__doc__)
    refuse_counts(command)
    if command.network is not None and not command.network.is_file():
        raise UserError(f"--network {command.network}: no such file: export the network first")
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = command.shards or _drawn(Path(scratch))
        manifest = load_manifest(folder)
        if not manifest.split(command.split).labelled:
            raise UserError(f"--split {command.split}: has no labels: what a format costs in accuracy cannot be told")
        reader = SplitReader(folder, manifest, command.split)
        images = [reader.image(position) for position in range(len(reader))]
        labels = np.array([sample.label for sample in reader.samples])
    if manifest.recipe.format == "jpg":
        raise UserError(f"{folder}: holds jpg: what a format loses shows on lossless shards only")
    formats = _formats(manifest.recipe)
    times = {f.name: _time(f, images[: command.cells], command.repeats) for f in formats}
    network = command.network and opened(command.network, manifest)
    rows, reference = [], None
    for one in formats:
        stored = [one.encode(image) for image in images]
        back = np.stack([one.decode(members) for members in stored])
        right = _right(network, back, labels) if network else None
        reference = right if reference is None else reference
        rows.append([one.name, *_sizes(stored), *times[one.name], *_errors(images, back), *_lost(right, reference)])
    _print(rows, f"{manifest.dataset}, {command.split}: n = {len(images)} (times: {min(command.cells, len(images))})")


def _drawn(folder: Path) -> Path:
    write_synthetic(folder / "data", 320, 0)
    build(read_dataset(folder / "data"), Recipe(), folder / "shards", workers=1, force=False)
    return folder / "shards"


def _formats(recipe: Recipe) -> list[Format]:
    size = recipe.size
    ours = [Recipe(size=size), Recipe(size=size, format="npy")]
    ours += [Recipe(size=size, format="jpg", quality=quality) for quality in QUALITIES]
    formats = [_ours(one) for one in ours]
    return formats + [_on_black(quality) for quality in QUALITIES]


def _ours(recipe: Recipe) -> Format:
    return Format(
        f"{recipe.format} {recipe.quality or ''}".strip(),
        lambda image: encode_pixels(image, recipe),
        lambda members: decode_pixels(members, recipe, "benchmark"),
    )


def _on_black(quality: int) -> Format:
    def encode(image: Image) -> dict[str, bytes]:
        jpg = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return {"jpg": jpg.tobytes()}

    def decode(members: dict[str, bytes]) -> Image:
        return np.asarray(cv2.imdecode(np.frombuffer(members["jpg"], np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)

    return Format(f"peer: jpg {quality} on black", encode, decode)


def _time(one: Format, images: list[Image], repeats: int) -> tuple[str, str]:
    """Milliseconds an image to encode and to decode: the best of the repeats for every image, on average."""
    best = np.full((2, len(images)), np.inf)
    for _ in range(repeats):
        for i, image in enumerate(images):
            began = time.perf_counter()
            members = one.encode(image)
            middle = time.perf_counter()
            one.decode(members)
            best[:, i] = np.minimum(best[:, i], (middle - began, time.perf_counter() - middle))
    encoding, decoding = 1000 * best.mean(axis=1)
    return f"{encoding:.3f}", f"{decoding:.3f}"


def _sizes(stored: list[dict[str, bytes]]) -> tuple[str, str]:
    """Bytes of the image's members alone, and with their tar headers and padding."""
    plain = [sum(map(len, members.values())) for members in stored]
    padded = [sum(512 + -(-len(data) // 512) * 512 for data in members.values()) for members in stored]
    return f"{np.mean(plain):.0f}", f"{np.mean(padded):.0f}"


def _errors(images: list[Image], back: NDArray[np.uint8]) -> tuple[str, str, str]:
    """Mean absolute error of cell pixels, mean error of border pixels (darker is a fringe), background pixels not 0."""
    inside, border, stained = [], [], 0
    for image, found in zip(images, back, strict=True):
        mask = cell_mask(image)
        edge = mask & (cv2.erode(mask.astype(np.uint8), BORDER, borderValue=0) == 0)
        difference = found.astype(np.int16) - image
        inside.append(np.abs(difference[mask]).mean())
        border.append(difference[edge].mean())
        stained += int(np.count_nonzero(found[~mask].any(axis=1)))
    return f"{np.mean(inside):.2f}", f"{np.mean(border):+.2f}", f"{stained / len(images):.0f}"


def opened(path: Path, manifest: Manifest) -> Predictor:
    """The network; raises ``UserError`` where it learned valid too, or was trained on other shards."""
    network = Predictor(path, "cpu")
    if network.card.refit:
        raise UserError(f"--network {path}: it learned valid too (train --refit): accuracy there would say nothing")
    if network.card.manifest_digest != manifest.digest:
        raise UserError(f"--network {path}: was trained on other shards (manifest digests differ)")
    return network


def _right(network: Predictor, images: NDArray[np.uint8], labels: NDArray) -> NDArray[np.bool_]:
    return np.asarray((network.predict(images).probability >= 0.5) == labels)


def _lost(right: NDArray[np.bool_] | None, reference: NDArray[np.bool_] | None) -> tuple[str, str]:
    """Accuracy, and verdicts that turned against the lossless pixels: from right to wrong / from wrong to right."""
    if right is None or reference is None:
        return "", ""
    return f"{right.mean():.2%}", f"{np.sum(reference & ~right)} / {np.sum(~reference & right)}"


def _print(rows: list[list[str]], title: str) -> None:
    table = Table(title=title)
    columns = (
        "format",
        "bytes",
        "in the tar",
        "encode ms",
        "decode ms",
        "error",
        "border",
        "stained",
        "accuracy",
        "turned",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "format" else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)
    packages = ("numpy", "opencv-python", "onnxruntime-gpu")
    print(", ".join(f"{package} {version(package)}" for package in packages), f"python {platform.python_version()}")


if __name__ == "__main__":
    run_command("benchmarks.formats")
