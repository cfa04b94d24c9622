"""From one checkpoint to its files: translate once, choose temperature and threshold, then each variant in turn."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from contract.bootstrap import people_of
from contract.errors import UserError
from contract.manifest import NAME, load_manifest
from contract.model_card import ModelCard
from contract.publish import publish_bytes
from contract.shard_reader import SplitReader
from export.calibrate import OperatingPoint, choose_threshold, fit_temperature, probabilities, score
from export.graph import finish, fold_batch_norm, translate
from export.int8_ranges import equalise, measure_ranges
from export.quantize import FIRST, Gate, calibration_sample, compare_decisions, quantize
from export.raw_graph import STAINS, to_raw
from export.raw_verify import compare_raw
from export.verify import verify
from train.checkpoint import load_checkpoint, load_weights
from train.normalise import Normalise
from train.resnet import ResNet, build_resnet

CROPS = 32  # of the validation split, compared with float64 beside fixed and random images
BATCH = 16


@dataclass(frozen=True)
class Plan:
    """What to make, of which folders."""

    artifacts: Path
    shards: tuple[Path, ...]  # folders: a network's own one is told by the digest on its card
    data: Path | None
    point: OperatingPoint
    int8: bool
    raw: bool


@dataclass(frozen=True)
class Cells:
    """The splits of a network's own shards."""

    train: SplitReader
    valid: SplitReader
    labels: NDArray[np.int64]  # of valid
    people: list[str] | None  # the person of each cell of valid, where they are known


def export_network(arch: str, plan: Plan) -> None:
    """Publish ARTIFACTS/ARCH/model.onnx and the variants that pass; raises ``UserError`` where model.onnx does not."""
    card, network = _load(arch, plan.artifacts)
    cells = _open_cells(plan.shards, card)
    if cells is None and plan.data is not None:
        raise UserError(
            f"--data {plan.data}: needs --shards of this network, which say what valid is: not {plan.shards}"
        )
    graph = translate(network, card)
    logits = None
    if cells is None:
        named = ", ".join(map(str, plan.shards)) or "no folder"
        print(f"note: {arch}: its own shards are not in {named}: not calibrated, no int8")
        if plan.point.name != "default 0.5":
            raise UserError(f"--operating-point {plan.point.name}: is chosen on valid: --shards of this network needed")
    else:
        logits = _logits(finish(graph, card, "float32"), cells.valid)
        card = _calibrate(card, logits, cells, plan.point)
    card = _publish_float32(graph, network, card, cells, plan.artifacts / arch / "model.onnx")
    if plan.int8 and cells is not None and logits is not None:
        _publish_int8(graph, network, card, cells, logits, plan.artifacts / arch / "model.int8.onnx")
    if plan.raw:
        _publish_raw(graph, card, cells, logits, plan.data, plan.artifacts / arch / "model.raw.onnx")


def _load(arch: str, artifacts: Path) -> tuple[ModelCard, ResNet]:
    path = artifacts / arch / "best.pt"
    card, state = load_checkpoint(path)
    if card.arch != arch:
        raise UserError(f"{path}: holds a {card.arch}, not a {arch}")
    network = build_resnet(arch, len(card.classes))
    load_weights(network, state, path)
    return card, network.eval()


def _open_cells(folders: tuple[Path, ...], card: ModelCard) -> Cells | None:
    """None where no folder holds the shards that the network was trained on."""
    for folder in folders:
        if (folder / NAME).is_file() and (manifest := load_manifest(folder)).digest == card.manifest_digest:
            valid = SplitReader(folder, manifest, "valid")
            identities = [manifest.identities.get(subject or "") for subject in valid.subjects]
            people = people_of(valid.subjects, identities, [sample.key for sample in valid.samples])
            return Cells(SplitReader(folder, manifest, "train"), valid, valid.labels, people)
    return None


def _calibrate(card: ModelCard, logits: NDArray[np.float32], cells: Cells, point: OperatingPoint) -> ModelCard:
    temperature = fit_temperature(logits, cells.labels)
    if temperature == 1:
        print("note: no temperature fits valid better than all others (no error there, or chance): not calibrated")
    threshold = choose_threshold(probabilities(logits, temperature), cells.labels, point)
    card = replace(card, temperature=temperature, threshold=threshold, operating_point=point.name)
    return _scored(card, logits, cells)


def _scored(card: ModelCard, logits: NDArray[np.float32], cells: Cells) -> ModelCard:
    found = score(logits, cells.labels, card.temperature, card.threshold, cells.people)
    return replace(card, metrics=found.metrics, intervals=found.intervals, samples=len(cells.labels))


def _publish_float32(
    graph: onnx.ModelProto, network: ResNet, card: ModelCard, cells: Cells | None, path: Path
) -> ModelCard:
    crops = np.zeros((0, card.recipe.size, card.recipe.size, 3), np.uint8)
    if cells is not None:
        crops = np.stack([cells.valid.image(i) for i in range(min(CROPS, len(cells.valid)))])
    found = verify(finish(graph, card, "float32"), network, card, crops)
    card = replace(card, verification=found.stated())
    data = finish(graph, card, "float32")  # only the card differs from what was verified
    publish_bytes(path, data)
    print(
        f"{path}: {len(data) / 1e6:.1f} MB, {card.recipe.size} px; against torch float64 on {found.images} images: "
        f"logits within {found.logit_error:.1e}, probability within {found.probability_error:.1e}, "
        f"decisions identical ({found.ties} ties)"
    )
    if cells is not None:
        print(
            f"  temperature {card.temperature:.3f}, threshold {card.threshold:.4f} ({card.operating_point}); valid, "
            f"n = {card.samples}: accuracy {card.metrics['valid_accuracy']:.2%}, "
            f"cross-entropy {card.metrics['valid_loss_uncalibrated']:.4f} -> {card.metrics['valid_loss']:.4f}"
        )
    return card


def _publish_int8(
    graph: onnx.ModelProto, network: ResNet, card: ModelCard, cells: Cells, logits: NDArray[np.float32], path: Path
) -> None:
    """Everything in int8 first; where that fails the gate, with the first convolution in float32; else not at all."""
    sample = calibration_sample(cells.train)
    images = torch.from_numpy(np.stack([cells.train.image(i) for i in sample]))
    normalise = Normalise.of(card)
    equalised = equalise(fold_batch_norm(network), normalise, images)
    keys = tuple(cells.train.samples[i].key for i in sample)
    gates: list[Gate] = []
    for float_layers in ((), (FIRST,)):
        ranges = measure_ranges(equalised, normalise, images, float_layers)
        quantised = quantize(graph, ranges)
        found = _logits(finish(quantised, card, "int8"), cells.valid)
        gates.append(compare_decisions(_decisions(logits, card), _decisions(found, card), cells.labels))
        if gates[-1].passed:
            stated = replace(
                _scored(card, found, cells),
                calibration=keys,
                float_layers=(*float_layers, "fc"),
                verification=_differences(logits, found, card, gates[-1]),
            )
            data = finish(quantised, stated, "int8")
            publish_bytes(path, data)
            print(
                f"{path}: {len(data) / 1e6:.1f} MB; against float32 on valid, n = {len(cells.labels)}: {gates[-1]}; "
                f"float32 layers: {', '.join(stated.float_layers)}"
            )
            return
    print(f"{path}: not published: against float32 on valid, n = {len(cells.labels)}: {'; '.join(map(str, gates))}")


def _publish_raw(
    graph: onnx.ModelProto,
    card: ModelCard,
    cells: Cells | None,
    logits: NDArray[np.float32] | None,
    data: Path | None,
    path: Path,
) -> None:
    """Compared with the builder on drawn cells and, where their folder is given, on the raw cells of valid."""
    if card.recipe.stain not in STAINS:
        print(f"{path}: not made: stain {card.recipe.stain} is not supported there, only {', '.join(STAINS)} are")
        return
    raw = to_raw(graph, card)
    valid = None if cells is None else cells.valid
    found = compare_raw(finish(raw, card, "raw"), finish(graph, card, "float32"), card, valid, logits, data)
    if not found.passed:
        print(f"{path}: not published: against the builder and model.onnx: {found}")
        return
    file = finish(raw, replace(card, verification={**card.verification, **found.stated()}), "raw")
    publish_bytes(path, file)
    print(f"{path}: {len(file) / 1e6:.1f} MB; against the builder and model.onnx: {found}")


def _differences(
    logits: NDArray[np.float32], found: NDArray[np.float32], card: ModelCard, gate: Gate
) -> dict[str, float]:
    moved = np.abs(probabilities(found, card.temperature) - probabilities(logits, card.temperature))
    return {
        "accuracy_change": gate.accuracy_change,
        "agreement": gate.agreement,
        "mean_probability_error": float(moved.mean()),
        "largest_probability_error": float(moved.max()),
    }


def _decisions(logits: NDArray[np.float32], card: ModelCard) -> NDArray[np.bool_]:
    return probabilities(logits, card.temperature) >= card.threshold


def _logits(onnx_bytes: bytes, split: SplitReader) -> NDArray[np.float32]:
    """Of a whole split, float32 ``[N, 2]``."""
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    parts = [session.run(["logits"], {"images": images})[0] for images in _batches(split)]
    return np.concatenate(parts)


def _batches(split: SplitReader) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(split), BATCH):
        yield np.stack([split.image(i) for i in range(start, min(start + BATCH, len(split)))])
