"""Preprocess and write one shard; runs in a worker process.

A shard is written under a temporary name, flushed, hashed and renamed; its result is written last. So a killed build
leaves whole shards with their results, which the next one takes up, and nothing that could be mistaken for one.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from build_shards.dataset import Cell
from build_shards.image_file import announced
from build_shards.plan import ShardPlan
from build_shards.preprocess import Crop, preprocess, read_view, refuse_no_background
from build_shards.sources import source_sha256
from build_shards.tar import ending, sample_blocks
from contract.errors import UserError
from contract.files import read_text
from contract.manifest import Shard
from contract.pixels import Image, decode_pixels, encode_pixels
from contract.publish import file_sha256, publish_text, text_sha256
from contract.recipe import Recipe
from contract.record import from_json, to_json


@dataclass(frozen=True)
class Skipped:
    """A cell that was left out, and why."""

    source: str
    split: str
    reason: str
    sha256: str  # of the file; "" where it could not be read


@dataclass(frozen=True)
class ShardResult:
    """A written shard, what was noticed on the way, and exact integer sums over its cell pixels."""

    shard: Shard
    made_of: str  # SHA-256 over the recipe and the SHA-256 of every source, in the plan's order
    shrunk: int  # cells larger than the native window
    unnormalised: tuple[str, ...]  # keys of cells whose stain could not be normalised
    skipped: tuple[Skipped, ...]
    pixels: int
    total: tuple[int, int, int]  # per RGB channel
    squares: tuple[int, int, int]  # per RGB channel, of the squared values


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to write one shard."""

    plan: ShardPlan
    recipe: Recipe
    staging: Path
    skip_bad: bool


def write_shard(job: Job) -> ShardResult:
    """Write the shard, or take it up where an earlier, killed build has finished it.

    Raises ``UserError`` for a cell that cannot be read or preprocessed, unless ``skip_bad``.
    """
    cv2.setNumThreads(1)  # one worker, one core
    record = job.staging / f"{job.plan.name}.json"
    done = _finished(record, job)
    if done is None:
        done = _write(job)
        publish_text(record, to_json(done))
    return done


def _finished(record: Path, job: Job) -> ShardResult | None:
    """The result of this very shard, when it is there, the shard's bytes are what it says, and so are its sources."""
    path = job.staging / job.plan.name
    if not (record.is_file() and path.is_file()):
        return None
    try:
        result = from_json(ShardResult, read_text(record), str(record))
    except UserError:
        return None
    made_of = _made_of(job.recipe, [source_sha256(cell.file) for _, cell in job.plan.keyed_cells])
    return result if file_sha256(path) == result.shard.sha256 and made_of == result.made_of else None


def _made_of(recipe: Recipe, sources: list[str]) -> str:
    return text_sha256(json.dumps([recipe.to_json(), *sources]))


@dataclass
class _Tally:
    """What is noticed while the cells of a shard are written."""

    sources: list[str] = field(default_factory=list)  # SHA-256 of every cell's file, skipped or not
    skipped: list[Skipped] = field(default_factory=list)
    unnormalised: list[str] = field(default_factory=list)
    shrunk: int = 0
    class_counts: list[int] = field(default_factory=lambda: [0, 0])
    pixels: int = 0
    total: list[int] = field(default_factory=lambda: [0, 0, 0])
    squares: list[int] = field(default_factory=lambda: [0, 0, 0])

    def add_pixels(self, image: Image) -> None:
        """Add the cell pixels of a stored image: none of their channels is 0, and background is 0 in all of them."""
        planes = cv2.split(image)
        self.pixels += cv2.countNonZero(planes[0])
        for channel, plane in enumerate(planes):
            self.total[channel] += int(cv2.sumElems(plane)[0])
            self.squares[channel] += round(cv2.norm(plane, cv2.NORM_L2SQR))  # whole, but by way of a root


def _write(job: Job) -> ShardResult:
    plan, path, tally = job.plan, job.staging / job.plan.name, _Tally()
    temporary = path.with_suffix(f".{os.getpid()}.tmp")  # a killed build's last worker must not write into it
    with temporary.open("wb") as file:
        for key, cell in announced(plan.keyed_cells, lambda keyed: keyed[1].file):
            try:
                image, data = read_view(cell.file)
                crop = preprocess(image, job.recipe, str(cell.file))
                refuse_no_background(image, str(cell.file))
            except UserError as error:
                if not job.skip_bad:
                    raise
                _skip(cell, error, tally)
            else:
                tally.sources.append(hashlib.sha256(data).hexdigest())
                file.write(_sample(key, cell, crop, job.recipe, tally))
        file.write(ending(file.tell()))
        file.flush()
        os.fsync(file.fileno())
    samples, sha256 = len(plan.keyed_cells) - len(tally.skipped), file_sha256(temporary)
    shard = Shard(plan.name, plan.split, samples, tuple(tally.class_counts), temporary.stat().st_size, sha256)
    os.replace(temporary, path)
    return ShardResult(
        shard=shard,
        made_of=_made_of(job.recipe, tally.sources),
        shrunk=tally.shrunk,
        unnormalised=tuple(tally.unnormalised),
        skipped=tuple(tally.skipped),
        pixels=tally.pixels,
        total=_triple(tally.total),
        squares=_triple(tally.squares),
    )


def _triple(values: list[int]) -> tuple[int, int, int]:
    return values[0], values[1], values[2]


def _skip(cell: Cell, error: UserError, tally: _Tally) -> None:
    tally.sources.append(source_sha256(cell.file))
    reason = str(error).removeprefix(f"{cell.file}: ")  # where the dataset lies is nothing to record
    tally.skipped.append(Skipped(cell.source, cell.split, reason, tally.sources[-1]))


def _sample(key: str, cell: Cell, crop: Crop, recipe: Recipe, tally: _Tally) -> bytes:
    """The blocks of one sample: the image's members, the label if any, and where it came from."""
    members = encode_pixels(crop.image, recipe)
    tally.add_pixels(decode_pixels(members, recipe, key) if recipe.format == "jpg" else crop.image)
    tally.shrunk += crop.shrunk
    tally.unnormalised += [] if crop.normalised else [key]
    info = {"source": cell.source, "subject": cell.subject, "box": crop.box, "sha256": tally.sources[-1]}
    members["json"] = json.dumps(info).encode()
    if cell.label is not None:
        tally.class_counts[cell.label] += 1
        members["cls"] = str(cell.label).encode()
    return sample_blocks(key, members)
