"""Preprocess and write one shard; runs in a worker process.

A shard is written under a temporary name, flushed, hashed and renamed; its result is written last. So a killed build
leaves whole shards with their results, which the next one takes up, and nothing that could be mistaken for one.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import webdataset

from build_shards.dataset import Cell
from build_shards.image_file import announced
from build_shards.plan import ShardPlan
from build_shards.preprocess import Crop, cell_mask, preprocess, read_image
from build_shards.sources import source_sha256
from contract.errors import UserError
from contract.manifest import Shard
from contract.pixels import decode_pixels, encode_pixels
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
        result = from_json(ShardResult, record.read_text(encoding="utf-8"), str(record))
    except (UserError, UnicodeDecodeError):
        return None
    made_of = _made_of(job.recipe, [source_sha256(cell.file) for _, cell in job.plan.keyed_cells])
    return result if file_sha256(path) == result.shard.sha256 and made_of == result.made_of else None


def _made_of(recipe: Recipe, sources: list[str]) -> str:
    return text_sha256(json.dumps([recipe.to_json(), *sources]))


def _write(job: Job) -> ShardResult:
    plan, path = job.plan, job.staging / job.plan.name
    temporary = path.with_suffix(f".{os.getpid()}.tmp")  # a killed build's last worker must not write into it
    shrunk, counts = 0, [0, 0]
    skipped: list[Skipped] = []
    unnormalised: list[str] = []
    sources: list[str] = []
    pixels, total, squares = 0, np.zeros(3, np.int64), np.zeros(3, np.int64)
    with temporary.open("wb") as file, webdataset.TarWriter(file, encoder=False, mtime=0) as tar:
        for key, cell in announced(plan.keyed_cells, lambda keyed: keyed[1].file):
            try:
                image, data = read_image(cell.file)
                crop = preprocess(image, job.recipe, str(cell.file))
            except UserError as error:
                if not job.skip_bad:
                    raise
                sources.append(source_sha256(cell.file))
                reason = str(error).removeprefix(f"{cell.file}: ")  # where the dataset lies is nothing to record
                skipped.append(Skipped(cell.source, cell.split, reason, sources[-1]))
                continue
            sources.append(hashlib.sha256(data).hexdigest())
            members = encode_pixels(crop.image, job.recipe)
            tar.write(_sample(key, cell, crop, sources[-1], members))
            stored = decode_pixels(members, job.recipe, key) if job.recipe.format == "jpg" else crop.image
            pixels += int(np.count_nonzero(cell_mask(stored)))
            total += [int(channel) for channel in cv2.sumElems(stored)[:3]]  # background is zero and adds nothing
            squares += [np.square(plane, dtype=np.uint32).sum(dtype=np.int64) for plane in cv2.split(stored)]
            shrunk += crop.shrunk
            unnormalised += [] if crop.normalised else [key]
            if cell.label is not None:
                counts[cell.label] += 1
        tar.close()
        file.flush()
        os.fsync(file.fileno())
    samples, sha256 = len(plan.keyed_cells) - len(skipped), file_sha256(temporary)
    shard = Shard(plan.name, plan.split, samples, tuple(counts), temporary.stat().st_size, sha256)
    os.replace(temporary, path)
    made_of, sums = _made_of(job.recipe, sources), (pixels, _triple(total), _triple(squares))
    return ShardResult(shard, made_of, shrunk, tuple(unnormalised), tuple(skipped), *sums)


def _triple(values: np.ndarray) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])


def _sample(key: str, cell: Cell, crop: Crop, sha256: str, members: dict[str, bytes]) -> dict[str, object]:
    """One sample as ``TarWriter`` takes it: the image's members, the label if any, and where it came from."""
    info = {"source": cell.source, "subject": cell.subject, "box": crop.box, "sha256": sha256}
    sample: dict[str, object] = {"__key__": key, **members, "json": json.dumps(info).encode()}
    if cell.label is not None:
        sample["cls"] = str(cell.label).encode()
    return sample
