"""From one checkpoint to its files: translate once, choose temperature and threshold, make all, then publish."""

from dataclasses import dataclass, replace
from pathlib import Path

from contract.errors import UserError
from contract.model_card import ModelCard
from contract.publish import publish_bytes
from export.calibrate import OperatingPoint, choose_threshold, fit_temperature, probabilities
from export.counterpart import calibrated_by
from export.graph import finish, translate
from export.source import Cells, Logits, Source, logits_of, open_cells
from export.variants import Made, make_float32, make_int8, make_raw, scored
from train.checkpoint import load_checkpoint, load_weights
from train.resnet import ResNet, build_resnet


@dataclass(frozen=True)
class Plan:
    """What to make, of which folders."""

    artifacts: Path
    shards: tuple[Path, ...]  # folders: a network's own one is told by the digest on its card
    data: Path | None
    point: OperatingPoint
    int8: bool
    raw: bool
    counterpart: Path | None = None  # folder of the network that calibrates a refit


def export_network(arch: str, plan: Plan) -> None:
    """Publish ARTIFACTS/ARCH/model.onnx and the variants that pass, model.onnx last.

    Raises ``UserError`` where model.onnx does not pass or a variant cannot be compared; then nothing is published.
    """
    float32, source = make_float32(_open(arch, plan))
    made = [float32]
    if plan.int8:
        none = Made("model.int8.onnx", None, "not made without the network's own shards")
        made.append(none if source.cells is None else make_int8(source))
    if plan.raw:
        made.append(make_raw(source, plan.data))
    for file in reversed(made):
        path = plan.artifacts / arch / file.name
        if file.data is not None:
            publish_bytes(path, file.data)
        stays = file.data is None and path.exists()
        print(f"{path}: {file.said}{'; the file of an earlier export stays there' if stays else ''}")


def _open(arch: str, plan: Plan) -> Source:
    """The network with its calibrated card; uncalibrated, and a note says so, without its own shards."""
    card, network = _load(arch, plan.artifacts)
    if card.refit or plan.counterpart is not None:
        card = calibrated_by(plan.counterpart, card, plan.point)
    cells = open_cells(plan.shards, card)
    if cells is None and card.refit:
        raise UserError(f"{arch}: a refit is compared on its own shards: not in {_named(plan)}")
    if cells is None:
        _refuse_without_cells(plan)
        print(f"note: {arch}: its own shards are not in {_named(plan)}: not calibrated")
    graph = translate(network, card)
    if cells is None:
        return Source(card, network, graph, None, None)
    logits = logits_of(finish(graph, card, "float32"), cells.valid)
    return Source(card if card.refit else _calibrate(card, logits, cells, plan.point), network, graph, cells, logits)


def _named(plan: Plan) -> str:
    return ", ".join(map(str, plan.shards)) or "no folder"


def _load(arch: str, artifacts: Path) -> tuple[ModelCard, ResNet]:
    path = artifacts / arch / "best.pt"
    card, state = load_checkpoint(path)
    if card.arch != arch:
        raise UserError(f"{path}: holds a {card.arch}, not a {arch}")
    network = build_resnet(arch, len(card.classes), card.channels)
    load_weights(network, state, path)
    return card, network.eval()


def _refuse_without_cells(plan: Plan) -> None:
    """What needs the validation split."""
    if plan.data is not None:
        said = "needs --shards of this network, which say what valid is"
        raise UserError(f"--data {plan.data}: {said}: not in {_named(plan)}")
    if plan.point.name != "default 0.5":
        raise UserError(f"--operating-point {plan.point.name}: is chosen on valid: --shards of this network needed")


def _calibrate(card: ModelCard, logits: Logits, cells: Cells, point: OperatingPoint) -> ModelCard:
    temperature = fit_temperature(logits, cells.labels)
    if temperature == 1:
        print("note: no temperature fits valid better than all others (no error there, or chance): not calibrated")
    threshold = choose_threshold(probabilities(logits, temperature), cells.labels, point)
    card = replace(card, temperature=temperature, threshold=threshold, operating_point=point.name)
    return scored(card, logits, cells)
