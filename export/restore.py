"""`python -m export restore FILE`: from an exported file back to a checkpoint that training can start from.

Checkpoints are large and get lost; the exported file that stays holds the same function, in int8 within rounding.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from contract.errors import UserError
from contract.manifest import load_manifest
from contract.model_card import LIMITS, ModelCard
from contract.shard_reader import SplitReader
from export.card import load_model
from export.quantize import LEAST_AGREEMENT, calibration_sample, compare_decisions
from export.source import Cells, Logits, logits_of, open_cells
from export.unfold import BATCH, Folded, folded_weights, unfold
from train.checkpoint import save_checkpoint
from train.normalise import Normalise
from train.resnet import ARCHITECTURES, ResNet, build_resnet

CELLS = 256  # of the training split, half of them of each class, for the statistics


@dataclass(frozen=True)
class Restored:
    """A network with its BatchNorm back, and how it compares with the file that it was made of."""

    network: ResNet
    accuracy: float  # on valid, one look
    agreement: float  # share of decisions on valid that are the file's


def restore_file(file: Path, shards: tuple[Path, ...], out: Path) -> Path:
    """Write OUT/ARCH/best.pt of an exported file; returns its path.

    Raises ``UserError`` where the file is damaged, takes raw images or is of an unknown network, where no folder of
    ``shards`` holds the cells that it was trained on, where its weights do not fit, where more than one in a hundred
    decisions on valid would change, or where OUT/ARCH/best.pt is there already.
    """
    data, model, card = load_model(file)
    if card.variant == "raw":
        raise UserError(f"{file}: takes raw images: restore model.onnx or model.int8.onnx, which hold the same network")
    if card.arch not in ARCHITECTURES:
        raise UserError(f"{file}: its card says {card.arch!r}: only {', '.join(ARCHITECTURES)} can be built again")
    card = on_shards(card, shards, file)
    cells = open_cells(shards, card)
    assert cells is not None  # by that digest
    path = out / card.arch / "best.pt"
    if path.exists():
        raise UserError(f"{path}: is there already, and may be a training's own: choose another --out")
    try:
        folded = folded_weights(model)  # first: what it refuses is never run
        found = restore(folded, card, cells, logits_of(data, cells.valid))
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    if found.agreement < LEAST_AGREEMENT:
        raise UserError(f"{file}: restored, only {found.agreement:.2%} of its decisions on valid stay: nothing written")
    save_checkpoint(path, checkpoint_card(card, data, found.accuracy), {"model": found.network.state_dict()})
    learned = " (which it learned)" if card.refit else ""
    alike = f"{found.agreement:.2%} of decisions as in {file} (n = {len(cells.valid)})"
    print(f"{path}: accuracy on valid{learned} {found.accuracy:.2%}, {alike}")
    return path


def on_shards(card: ModelCard, folders: tuple[Path, ...], file: Path) -> ModelCard:
    """The card with the digest of the folder that holds its pixels: of the same cells and split, by the same recipe.

    Raises ``UserError`` where no folder does. Other versions of this project wrote other bytes for the same pixels, so
    the digest of a file that was kept may be of shards which nobody can build any more.
    """
    for folder in folders:
        manifest = load_manifest(folder)
        if (manifest.source_digest, manifest.recipe) == (card.training.get("source_digest"), card.recipe):
            return replace(card, manifest_digest=manifest.digest)
    named, recipe = ", ".join(map(str, folders)), card.recipe
    wanted = f"stain {recipe.stain}, crop {recipe.crop}, {recipe.size} px, version {recipe.version}"
    raise UserError(f"{file}: --shards {named}: not of the cells, split and recipe of its training ({wanted})")


def restore(folded: Folded, card: ModelCard, cells: Cells, logits: Logits) -> Restored:
    """The network of a file's weights; ``logits`` are what the file says of valid, float32 ``[N, 2]``."""
    network = build_resnet(card.arch, len(card.classes), card.channels).eval()
    normalise = Normalise.of(card)
    images = _images(cells.train, calibration_sample(cells.train, CELLS))
    unfold(network, folded, normalise, images)
    said = [_logits(network, normalise, cells.valid, i) for i in range(0, len(cells.valid), BATCH)]
    found = torch.cat(said).numpy()
    decisions = [values[:, 1] > values[:, 0] for values in (logits, found)]
    accuracy = float(np.mean(decisions[1] == (cells.labels == 1)))
    return Restored(network, accuracy, compare_decisions(decisions[0], decisions[1], cells.labels).agreement)


def checkpoint_card(card: ModelCard, data: bytes, accuracy: float) -> ModelCard:
    """The file's card as a checkpoint's, without what the export had found; it names the file."""
    source = f"{card.variant} file, SHA-256 {hashlib.sha256(data).hexdigest()}"
    earlier = card.training.get("initial")
    training = card.training | {"initial": f"{source}; before: {earlier}" if earlier else source}
    metrics = {} if card.refit else {"valid_accuracy": accuracy}  # a refit has learned valid
    plain = replace(card, variant="checkpoint", training=training, metrics=metrics, samples=0, limits=LIMITS)
    plain = replace(plain, temperature=1.0, threshold=0.5, operating_point="default 0.5", opset=0, ir=0)
    return replace(plain, intervals={}, calibration=(), float_layers=(), verification={})


def _images(split: SplitReader, positions: list[int]) -> Tensor:
    return torch.from_numpy(np.stack([split.image(i) for i in positions]))


@torch.inference_mode()
def _logits(network: ResNet, normalise: Normalise, split: SplitReader, start: int) -> Tensor:
    logits: Tensor = network(normalise(_images(split, [*range(start, min(start + BATCH, len(split)))])))
    return logits
