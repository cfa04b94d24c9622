"""One raw image through every exported network and their ensemble: what the demonstrations show."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_shards.preprocess import Crop, preprocess
from contract.errors import UserError
from contract.recipe import Recipe
from evaluate.cell_image import CellImage
from evaluate.ensemble import ensemble_threshold, mean_probability
from evaluate.evidence import evidence_of
from evaluate.predictions import decide
from evaluate.predictor import Predictor, find_networks
from evaluate.unlike import Concern, TrainingRange, concerns, load_range


@dataclass(frozen=True)
class Opinion:
    """What one network, or the ensemble, says of one cell."""

    label: int
    name: str  # of the label
    probability: float  # of label 1, calibrated where the network's card says so
    threshold: float  # at or above it the verdict is label 1
    milliseconds: float  # of the network alone, without decoding and cropping
    evidence: NDArray[np.float32] | None  # for label 1, [h, w], in log odds; the ensemble has none
    crop: NDArray[np.uint8] | None  # the cell as this network sees it; the ensemble has none


@dataclass(frozen=True)
class Classified:
    """All opinions on one image."""

    crop: NDArray[np.uint8]  # as the first network sees it
    opinions: dict[str, Opinion]  # by network
    ensemble: Opinion
    classes: tuple[str, ...]  # names of labels 0 and 1
    concerns: tuple[Concern, ...]
    milliseconds: float  # crop and all networks


@dataclass(frozen=True)
class Networks:
    """The exported networks, opened, and the range of the cells they were trained on."""

    predictors: dict[str, Predictor]
    ranges: dict[str, TrainingRange | None]  # by manifest digest


def open_networks(artifacts: Path, shards: Sequence[Path], device: str, threads: int, int8: bool) -> Networks:
    """Open every exported network below ``artifacts``, side by side; ``int8`` takes ``model.int8.onnx`` instead.

    ``shards`` are the folders that may hold the networks' training cells, whose range images are compared with.

    Raises ``UserError`` when there is none, one cannot be used or is another network than its folder's, a wanted int8
    file is missing, or class names differ.
    """
    paths = find_networks(artifacts)
    if int8:
        paths = {arch: _int8(path) for arch, path in paths.items()}
    return open_files(paths, artifacts, shards, device, threads)


def open_files(paths: dict[str, Path], ranges: Path, shards: Sequence[Path], device: str, threads: int) -> Networks:
    """Open these files, by architecture; ``ranges`` is the folder that keeps the range of their training cells.

    Raises ``UserError`` when one cannot be used or is another network than it is called, or class names differ.
    """
    with ThreadPoolExecutor(len(paths)) as pool:
        predictors = dict(
            zip(paths, pool.map(lambda path: Predictor(path, device, threads), paths.values()), strict=True)
        )
    first = next(iter(predictors.values()))
    for arch, predictor in predictors.items():
        if predictor.card.arch != arch:
            raise UserError(
                f"{predictor.path}: its card says {predictor.card.arch}: it lies in the folder of another network"
            )
        if predictor.card.classes != first.card.classes:
            raise UserError(
                f"{predictor.path}: knows {predictor.card.classes}, {first.path} knows {first.card.classes}"
            )
    digests = dict.fromkeys(predictor.card.manifest_digest for predictor in predictors.values())
    return Networks(predictors, {digest: load_range(ranges, shards, digest) for digest in digests})


def classify(cell: CellImage, networks: Networks, source: str) -> Classified:
    """Crop by each network's own recipe, ask every network, and take the ensemble's mean.

    Raises ``UserError`` naming ``source`` when the image holds no cell.
    """
    began = time.perf_counter()
    crops: dict[Recipe, Crop] = {}
    judged: set[tuple[Recipe, str]] = set()  # by the range of which training cells
    opinions, found = {}, [Concern("format", note) for note in cell.notes]
    classes = next(iter(networks.predictors.values())).card.classes
    for arch, predictor in networks.predictors.items():
        card = predictor.card
        if card.recipe not in crops:
            crops[card.recipe] = preprocess(cell.pixels, card.recipe, source)
        if (card.recipe, card.manifest_digest) not in judged:
            judged.add((card.recipe, card.manifest_digest))
            told = {concern.kind for concern in found}  # by another recipe, whose digits differ a little
            new = concerns(cell.pixels, crops[card.recipe], networks.ranges[card.manifest_digest])
            found += [concern for concern in new if concern.kind not in told]
        opinions[arch] = _ask(predictor, crops[card.recipe].image)
    return Classified(
        crop=next(iter(crops.values())).image,
        opinions=opinions,
        ensemble=_ensemble(list(opinions.values()), classes),
        classes=classes,
        concerns=tuple(found),
        milliseconds=1000 * (time.perf_counter() - began),
    )


def _ask(predictor: Predictor, crop: NDArray[np.uint8]) -> Opinion:
    began = time.perf_counter()
    prediction = predictor.predict(crop[None])
    milliseconds = 1000 * (time.perf_counter() - began)
    label = int(prediction.labels[0])
    name, probability = predictor.card.classes[label], float(prediction.probability[0])
    evidence = evidence_of(prediction.cam[0], predictor.card.temperature)
    return Opinion(label, name, probability, prediction.threshold, milliseconds, evidence, crop)


def _ensemble(opinions: list[Opinion], classes: tuple[str, ...]) -> Opinion:
    """What the ensemble of a report says of the same cell."""
    probability = mean_probability([np.array([opinion.probability], np.float32) for opinion in opinions])
    threshold = ensemble_threshold([opinion.threshold for opinion in opinions])
    label, milliseconds = int(decide(probability, threshold)[0]), sum(opinion.milliseconds for opinion in opinions)
    return Opinion(label, classes[label], float(probability[0]), threshold, milliseconds, None, None)


def _int8(path: Path) -> Path:
    found = path.with_name("model.int8.onnx")
    if not found.is_file():
        raise UserError(f"{found}: no such file: --int8 needs the int8 export of every network (make export)")
    return found
