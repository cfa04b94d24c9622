"""Read an ONNX file that may come from anywhere, and refuse what is not one of this project's, before it is run.

Every rule is checked on the parsed file by ``onnx``; ``onnxruntime`` sees only what passed.
"""

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto

from contract.errors import UserError
from contract.files import read_bytes
from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY, check_seal, external_tensor, int8_entries

LARGEST_FILE = 1 << 30  # bytes; four times the largest network
OPSETS = (18,)
OUTPUTS = ("logits", "probability", "cam")
IMAGES = {"float32": "images", "int8": "images", "raw": "image"}  # the input's name, by variant
# What an int8 or raw file has from model.onnx: the training, the temperature and the threshold.
SHARED = (
    *("arch", "classes", "dataset", "recipe", "mean", "std", "manifest_digest", "seed", "epoch", "training"),
    *("versions", "temperature", "threshold", "operating_point"),
)
GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


@dataclass(frozen=True)
class ModelFile:
    """A file that passed: its bytes, its card, and what a session needs so that its int8 sums are exact."""

    data: bytes
    card: ModelCard
    entries: tuple[tuple[str, str], ...]


def read_model(path: Path) -> ModelFile:
    """Read and check an exported network; raises ``UserError`` naming the file and the rule it breaks.

    An int8 or raw file must be of the same training as the model.onnx beside it, where there is one.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file: export the network first (make export)")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"{path}: {path.stat().st_size} bytes: more than {LARGEST_FILE}, which no network here has")
    data = read_bytes(path)
    check_seal(data, str(path))
    model = _parse(data, path)
    _check_operators(model, str(path))
    card = _read_card(model, str(path))
    _check_signature(model, card, str(path))
    try:
        onnx.checker.check_model(data)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise UserError(f"{path}: not a valid ONNX model: {str(error).splitlines()[0]}") from None
    _refuse_leftover(path, card)
    return ModelFile(data, card, int8_entries(model))


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    try:
        return onnx.load_from_string(data)
    except DecodeError:
        raise UserError(f"{path}: not an ONNX file") from None


def _refuse_leftover(path: Path, card: ModelCard) -> None:
    """A variant that failed its comparison is not published: the one that lies there may be of an older training."""
    float32 = path.with_name("model.onnx")
    if card.variant == "float32" or not float32.is_file():
        return
    other = _read_card(_parse(read_bytes(float32), float32), str(float32))
    differing = [name for name in SHARED if getattr(card, name) != getattr(other, name)]
    if differing:
        raise UserError(
            f"{path}: not of the training and export that {float32} is of (its {differing[0]} differs): export both "
            "again (make export FORCE=1)"
        )


def _check_operators(model: onnx.ModelProto, source: str) -> None:
    opsets = [(opset.domain or "ai.onnx", opset.version) for opset in model.opset_import]
    if len(opsets) != 1 or opsets[0][0] != "ai.onnx" or opsets[0][1] not in OPSETS:
        named = ", ".join(f"{domain} {version}" for domain, version in opsets) or "none"
        raise UserError(f"{source}: opsets {named}: only ai.onnx {', '.join(map(str, OPSETS))} is read")
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise UserError(f"{source}: holds functions, training or sparse tensors: no network of this project does")
    for node in model.graph.node:
        if node.domain:
            raise UserError(f"{source}: the operator {node.domain}.{node.op_type} is not a standard one")
        if any(attribute.type in GRAPHS for attribute in node.attribute):
            raise UserError(f"{source}: the operator {node.op_type} holds a graph of its own: none here does")
    outside = external_tensor(model)
    if outside is not None:
        raise UserError(f"{source}: the tensor {outside!r} lies in another file: external data is refused")


def _read_card(model: onnx.ModelProto, source: str) -> ModelCard:
    keys = [entry.key for entry in model.metadata_props]
    if METADATA_KEY not in keys:
        raise UserError(f"{source}: has no model card: it was not made by `make export`")
    if sorted(keys) != sorted((METADATA_KEY, DIGEST_KEY)):
        raise UserError(f"{source}: its metadata are {', '.join(keys)}: only the card and the seal belong there")
    card = ModelCard.from_json(model.metadata_props[keys.index(METADATA_KEY)].value, source)
    if card.variant not in IMAGES:
        raise UserError(f"{source}: its card is that of a {card.variant}, not of an ONNX file")
    if (card.opset, card.ir) != (model.opset_import[0].version, model.ir_version):
        raise UserError(f"{source}: its card states opset {card.opset} and IR {card.ir}, the file has others")
    return card


def _check_signature(model: onnx.ModelProto, card: ModelCard, source: str) -> None:
    """One uint8 input of the card's shape, and the outputs of the variant, in their order."""
    size = card.recipe.size
    shapes = {
        (value.name, value.type.tensor_type.elem_type, tuple(d.dim_value for d in value.type.tensor_type.shape.dim))
        for value in model.graph.input
    }
    wanted = (IMAGES[card.variant], TensorProto.UINT8, (0, 0, 3) if card.variant == "raw" else (0, size, size, 3))
    outputs = tuple(value.name for value in model.graph.output)
    if shapes != {wanted}:
        raise UserError(f"{source}: takes {sorted(shapes)}, not {wanted}: not a network of this project")
    if outputs != OUTPUTS + (("box",) if card.variant == "raw" else ()):
        raise UserError(f"{source}: gives {', '.join(outputs)}: not a network of this project")
    for value in model.graph.output:  # a sequence's elements have no type there
        if value.type.tensor_type.elem_type != (TensorProto.INT64 if value.name == "box" else TensorProto.FLOAT):
            raise UserError(f"{source}: its {value.name} is of another type than that of a network of this project")
