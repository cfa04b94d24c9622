"""artifacts/pretrained/: the one network that git keeps, in int8, so that a demonstration answers before any training.

It speaks only where ARTIFACTS holds no exported network, and a line says so.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contract.errors import UserError
from contract.files import read_bytes, read_text
from contract.model_card import ModelCard
from contract.publish import publish_bytes, publish_text, remove
from contract.record import from_json, to_json
from evaluate.classify import Networks, open_files, open_networks
from evaluate.predictor import Predictor, exported_networks
from evaluate.report_record import ARCHS
from evaluate.unlike import FILE as RANGES
from evaluate.unlike import TrainingRange, TrainingRanges, load_range, load_ranges

FOLDER = Path(__file__).resolve().parent.parent / "artifacts" / "pretrained"
MODEL, CARD = "model.int8.onnx", "card.json"


@dataclass(frozen=True)
class KeptNetwork:
    """``card.json`` beside a kept network: which file it must be, and its card in a form that people read."""

    file: str
    bytes: int
    sha256: str
    card: ModelCard


@dataclass(frozen=True)
class Keep:
    """Copy the int8 export of a network, with its card and the range of its training cells, to where git keeps it."""

    arch: Literal["resnet18", "resnet50", "resnet152"] = "resnet18"  # network
    artifacts: Path = Path("artifacts")  # folder of the exported networks
    shards: tuple[Path, ...] = (Path("shards"),)  # folder of the shards that it was trained on
    out: Path = FOLDER  # folder to write


def keep(command: Keep) -> Path:
    """Write OUT/ARCH/model.int8.onnx, OUT/training_ranges.json and, last, the card beside the file; returns its folder.

    Raises ``UserError`` where the file is no int8 network of this project, or its shards are not there.
    """
    predictor = Predictor(command.artifacts / command.arch / MODEL, "cpu", 1)
    if (predictor.card.arch, predictor.card.variant) != (command.arch, "int8"):
        raise UserError(f"{predictor.path}: its card says {predictor.card.arch}, {predictor.card.variant}")
    digest = predictor.card.manifest_digest
    known = load_range(command.artifacts, command.shards, digest)
    if known is None:
        named = ", ".join(map(str, command.shards))
        raise UserError(f"{named}: not the shards of {predictor.path}, which its cells' size and stain are measured on")
    data, folder = read_bytes(predictor.path), command.out / command.arch
    ranges = _ranges_of_others(command.out, command.arch) | {digest: known}
    kept = KeptNetwork(MODEL, len(data), predictor.sha256, predictor.card)
    remove(folder / CARD)  # it speaks of the file that is replaced
    publish_bytes(folder / MODEL, data)
    publish_text(command.out / RANGES, to_json(TrainingRanges(ranges)))
    publish_text(folder / CARD, to_json(kept))
    print(f"{folder / MODEL}: {len(data) / 1e6:.1f} MB, sha256 {kept.sha256}")
    return folder


def _ranges_of_others(out: Path, arch: str) -> dict[str, TrainingRange]:
    """Those of the networks that are kept beside this one."""
    cards = [out / other / CARD for other in ARCHS if other != arch and (out / other / CARD).is_file()]
    digests = {_load_kept(path).card.manifest_digest for path in cards}
    return {digest: found for digest, found in load_ranges(out / RANGES).items() if digest in digests}


def open_or_pretrained(artifacts: Path, shards: Sequence[Path], device: str, threads: int, int8: bool) -> Networks:
    """The exported networks of ``artifacts``; where there is none the kept one, with a line on stderr that says so.

    Raises ``UserError`` where there is neither, or the kept file is not the one that its card describes.
    """
    kept = [] if exported_networks(artifacts) else [arch for arch in ARCHS if (FOLDER / arch / CARD).is_file()]
    if not kept:
        return open_networks(artifacts, shards, device, threads, int8)
    networks = open_files({arch: FOLDER / arch / MODEL for arch in kept}, FOLDER, shards, device, threads)
    for arch, predictor in networks.predictors.items():
        _check(FOLDER / arch / CARD, predictor)
        card = predictor.card
        accuracy = card.metrics.get("valid_accuracy")
        found = f", accuracy {accuracy:.1%} on {card.measured_on}" if accuracy is not None else ""
        print(
            f"note: {artifacts}: no exported network there (make train, make export): the pretrained {arch} of "
            f"{predictor.path} answers instead (int8, trained on {card.dataset}{found})",
            file=sys.stderr,
        )
    return networks


def _check(path: Path, predictor: Predictor) -> None:
    kept = _load_kept(path)
    if kept.sha256 != predictor.sha256:
        raise UserError(f"{predictor.path}: is not the file that {path} describes: its sha256 is {predictor.sha256}")
    if kept.card != predictor.card:
        raise UserError(f"{path}: is not the card of {predictor.path}")


def _load_kept(path: Path) -> KeptNetwork:
    return from_json(KeptNetwork, read_text(path), str(path))
