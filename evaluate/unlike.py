"""What of an image is unlike the cells that a network was trained on: background, number, size, stain.

The range of size and stain is measured on the training split itself, from its shards, once; `training_ranges.json` in
the folder of artifacts keeps it. A demonstration's image goes through the same function as a training cell.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from build_shards.preprocess import Crop, cell_mask, cell_pixels
from contract.errors import UserError
from contract.files import read_text
from contract.manifest import NAME, Manifest, load_manifest
from contract.publish import publish_text
from contract.record import from_json, to_json
from contract.shard_reader import SplitReader

FILE = "training_ranges.json"
AGAIN = "remove it: it is measured again from the shards"
# Chosen on the 4,894 training cells of C-NMC 2019 (course layout): of no cell is more than 5.6 % of the image's edge
# brighter than black, and none has a second region.
FRAME = 0.10  # share of the image's outermost pixels that may be brighter than black
REGION = 0.05  # of the largest region's area; a smaller region is dust
COVERED = 99.8  # per cent of the training cells that a range holds


@dataclass(frozen=True)
class TrainingRange:
    """Size and stain of the training split's cells as the networks see them, after the recipe's stain normalisation."""

    dataset: str
    manifest_digest: str  # of the shards that were measured
    cells: int
    covered: float  # per cent of the cells that lie within ``area``, and within ``distance``
    area: tuple[float, float]  # of the cell, in source pixels
    density_mean: tuple[float, ...]  # mean over cells of the mean optical density, per RGB channel
    density_precision: tuple[tuple[float, ...], ...]  # inverse of its covariance, 3 x 3
    distance: float  # largest Mahalanobis distance of a mean density that is within the range


@dataclass(frozen=True)
class TrainingRanges:
    """``training_ranges.json``."""

    ranges: dict[str, TrainingRange]  # by manifest digest: networks of other recipes have other shards


@dataclass(frozen=True)
class Concern:
    """One way in which an image is unlike the training cells."""

    kind: str  # "background", "several cells", "size", "stain", "format" or "unknown range"
    text: str  # one sentence with the numbers


def describe(crop: NDArray[np.uint8], box: tuple[int, ...]) -> tuple[float, NDArray[np.float64]]:
    """A cell's area in source pixels and its mean optical density ``[3]``, from its crop ``[size, size, 3]``.

    ``box`` is what was cut out of the source (left, top, width, height). Optical density is -ln(value / 255), of 1
    where a channel is 0, as the stain normalisation takes it: one such pixel must not make the mean infinite.
    """
    pixels = np.maximum(cell_pixels(crop), 1).astype(np.float64)
    return len(pixels) * (box[2] / crop.shape[1]) ** 2, -np.log(pixels / 255).mean(axis=0)


def measure_training(shards: Path, manifest: Manifest) -> TrainingRange:
    """Measure every cell of the training split; raises ``UserError`` where there are fewer than 5."""
    reader = SplitReader(shards, manifest, "train")
    if len(reader) < 5:
        raise UserError(f"{shards}: a range needs at least 5 training cells, there are {len(reader)}")
    positions = tqdm(
        range(len(reader)), unit="cell", desc="size and stain of the training cells", leave=False, disable=None
    )
    found = [describe(reader.image(i), tuple(reader.info(i)["box"])) for i in positions]
    areas, densities = np.array([area for area, _ in found]), np.stack([density for _, density in found])
    mean = densities.mean(axis=0)
    spread = np.cov(densities.T) + 1e-4 * np.eye(3)  # a difference of 0.01 is no difference
    precision = np.linalg.inv(spread).astype(np.float64)
    edge = (100 - COVERED) / 2
    low, high = np.percentile(areas, [edge, 100 - edge])
    return TrainingRange(
        dataset=manifest.dataset,
        manifest_digest=manifest.digest,
        cells=len(reader),
        covered=COVERED,
        area=(float(low), float(high)),
        density_mean=tuple(mean.tolist()),
        density_precision=tuple(tuple(row) for row in precision.tolist()),
        distance=float(np.percentile([_distance(d, mean, precision) for d in densities], COVERED)),
    )


def load_range(artifacts: Path, folders: Sequence[Path], digest: str) -> TrainingRange | None:
    """The range of the shards named ``digest``: kept in ``artifacts``, else measured and kept; ``None`` without shards.

    ``folders`` are searched for shards of that digest. A note says where the range cannot be kept. Raises ``UserError``
    when the kept file or the shards are damaged.
    """
    path = artifacts / FILE
    kept = load_ranges(path)
    if digest in kept:
        return kept[digest]
    for shards in folders:
        if (shards / NAME).is_file() and (manifest := load_manifest(shards)).digest == digest:
            measured = measure_training(shards, manifest)
            try:
                publish_text(path, to_json(TrainingRanges(kept | {digest: measured})))
            except UserError as error:  # a demonstration only shows: others' networks may lie where one may not write
                print(f"note: {error}: the training cells are measured again the next time", file=sys.stderr)
            return measured
    return None


def load_ranges(path: Path) -> dict[str, TrainingRange]:
    """What ``training_ranges.json`` holds, by manifest digest; nothing where there is no such file."""
    return from_json(TrainingRanges, read_text(path, AGAIN), str(path)).ranges if path.is_file() else {}


def concerns(raw: NDArray[np.uint8], crop: Crop, known: TrainingRange | None) -> list[Concern]:
    """Compare a raw image ``[H, W, 3]`` and its crop with what the networks were trained on."""
    mask = cell_mask(raw)
    frame = float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
    if frame > FRAME:
        text = f"no black background: {frame:.0%} of the image's edge is not black; size and stain cannot be judged"
        return [Concern("background", text)]
    found = _regions(mask)
    if not crop.normalised:
        found.append(Concern("stain", "its stain cannot be told: it was not normalised as the training cells were"))
    if known is None:
        text = "size and stain were not judged: the training shards are not here (--shards)"
        return [*found, Concern("unknown range", text)]
    return [*found, *_out_of_range(crop, known)]


def _regions(mask: NDArray[np.bool_]) -> list[Concern]:
    count, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = np.sort(statistics[1:count, cv2.CC_STAT_AREA])[::-1]
    large = int((areas >= REGION * areas[0]).sum())
    if large < 2:
        return []
    text = f"several cells: {large} separate regions, the second {areas[1] / areas[0]:.0%} as large as the first"
    return [Concern("several cells", text)]


def _out_of_range(crop: Crop, known: TrainingRange) -> list[Concern]:
    area, density = describe(crop.image, crop.box)
    found = []
    if not known.area[0] <= area <= known.area[1]:
        text = (
            f"size: {area:,.0f} px of cell; {known.covered:g} % of the {known.cells:,} training cells have "
            f"{known.area[0]:,.0f} to {known.area[1]:,.0f} px"
        )
        found.append(Concern("size", text))
    distance = _distance(density, np.array(known.density_mean), np.array(known.density_precision))
    if distance > known.distance:
        text = (
            f"stain: its mean colour lies {distance:.1f} deviations from the training cells' mean; "
            f"{known.covered:g} % of the {known.cells:,} lie within {known.distance:.1f}"
        )
        found.append(Concern("stain", text))
    return found


def _distance(density: NDArray[np.float64], mean: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Mahalanobis distance: how far, counted in standard deviations along the directions in which cells differ."""
    offset = density - mean
    return float(np.sqrt(offset @ precision @ offset))
