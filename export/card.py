"""Print the model card of an exported network."""

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from contract.command import printable
from contract.errors import UserError
from contract.files import read_bytes
from contract.model_card import DRAWN, METADATA_KEY, ModelCard
from contract.model_file import check_seal


def show_card(path: Path) -> None:
    """Print the card of one file; raises ``UserError`` where it is missing, damaged or has none."""
    print(card_text(load_card(path), path.name))


def load_card(path: Path) -> ModelCard:
    """Read the card of an ONNX file whose seal holds."""
    return load_model(path)[2]


def load_model(path: Path) -> tuple[bytes, onnx.ModelProto, ModelCard]:
    """Read an ONNX file whose seal holds: its bytes, its graph and its card."""
    if not path.is_file():
        raise UserError(f"{path}: no such file: export the network first (make export)")
    data = read_bytes(path)
    check_seal(data, str(path))
    try:
        model = onnx.load_from_string(data)
    except DecodeError:
        raise UserError(f"{path}: not an ONNX file") from None
    cards = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if len(cards) != 1:
        raise UserError(f"{path}: has no model card: it was not made by `make export`")
    return data, model, ModelCard.from_json(cards[0], str(path))


def card_text(card: ModelCard, name: str) -> str:
    """The card as Markdown, which reads well on a terminal, too."""
    normal, blast = card.classes
    sections = {
        "What it is": [
            f"{card.arch}, variant {card.variant}, trained from scratch on: {card.dataset}",
            f"takes {_input(card)}; label 0 is {normal}, label 1 is {blast}",
            f"calls a cell {blast} where its probability is {_threshold(card)} or more ({card.operating_point})",
            f"the probability is calibrated: logits are divided by the temperature {card.temperature:.4g} before it"
            if card.temperature != 1
            else "the probability is not calibrated",
            f"ONNX opset {card.opset}, IR {card.ir}; float32 layers of int8: {', '.join(card.float_layers) or '-'}",
        ],
        "Intended use and limits": [card.intended_use, *card.limits],
        f"On {card.measured_on}; 95 % intervals of images as if independent": [
            _metric(name, value, card.intervals) for name, value in card.metrics.items()
        ],
        "Compared before it was published": [
            *_raw_cells(card),
            *(f"{key} {_measured(value)}" for key, value in card.verification.items()),
        ],
        "Pixels": [
            f"recipe: {', '.join(f'{key} {value}' for key, value in vars(card.recipe).items())}",
            f"mean {_numbers(card.mean)}, std {_numbers(card.std)} of the training split's cell pixels (RGB, 0..255)",
        ],
        "Training": [
            f"epoch {card.epoch}, seed {card.seed}, shards {card.manifest_digest}",
            ", ".join(f"{key} {'-' if value == '' else value}" for key, value in card.training.items()),
            ", ".join(f"{key} {value}" for key, value in card.versions.items()),
            f"int8 ranges from {len(card.calibration)} training cells: {' '.join(card.calibration) or '-'}",
        ],
        "Data": [card.citation],
    }
    blocks = [
        f"## {title}\n\n" + "\n".join(f"- {printable(line)}" for line in lines) for title, lines in sections.items()
    ]
    return "\n\n".join([f"# {card.arch}: {printable(name)}", *blocks])


def _input(card: ModelCard) -> str:
    size = card.recipe.size
    if card.variant == "raw":
        return "one raw image, uint8 [H, W, 3] RGB, one cell on exact black"
    return f"crops, uint8 [N, {size}, {size}, 3] RGB, as a shard holds them"


def _threshold(card: ModelCard) -> str:
    """With every digit that decides: one just below 1 would else be printed as 1."""
    return str(np.float32(card.threshold))


def _raw_cells(card: ModelCard) -> list[str]:
    """What the raw variant was compared on."""
    if card.variant != "raw":
        return []
    drawn, real = (int(card.verification.get(name, 0)) for name in ("raw_drawn_cells", "raw_cells"))
    of_valid = f"the {real} raw images of valid" if real else "no raw image of valid (export had no --data)"
    return [f"with the builder and model.onnx: on {drawn} drawn cells and {of_valid}"]


def _metric(name: str, value: float, intervals: dict[str, tuple[float, float]]) -> str:
    said = {"": intervals.get(name)}
    said |= {f"; {drawn} drawn anew: ": intervals.get(f"{name}_{end}") for end, drawn in DRAWN.items()}
    spread = "".join(f"{word}{found[0]:.4f} to {found[1]:.4f}" for word, found in said.items() if found)
    return f"{name} {value:.4f}" + (f" ({spread})" if spread else "")


def _measured(value: float) -> str:
    """A count whole, an error or a share with three digits."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.2f}" for value in values)
