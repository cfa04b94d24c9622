"""The raw variant: the whole recipe and the network in one graph, from a raw image to a probability."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from build_shards.preprocess import MINIMUM_CELL
from contract.errors import UserError
from contract.model_card import ModelCard
from contract.recipe import Recipe
from export.builder import PREFIX, GraphBuilder, integer, single
from export.graph import OPSET, OUTPUTS
from export.raw_crop import columns_of, crop_box, cut_out, resize
from export.raw_stain import normalise_stain

STAINS = ("none", "reinhard", "macenko")


def to_raw(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """Put the card's recipe before the graph of ``translate``: uint8 ``[H, W, 3]`` RGB, one cell on exact black.

    Outputs are those of the network for a batch of one, and ``box``, int64 ``[4]``: left, top, width and height of the
    crop in the image's pixels. Where the builder would refuse the image (no cell, or one too small to be stored) all
    but the box are NaN. Raises ``UserError`` for a stain normalisation that is not written in ONNX.
    """
    g = GraphBuilder()
    enough = _preprocess(g, card.recipe)
    stored = g.cast(g.reduce("ReduceMax", g.cast("images", np.int32), 0, 1, 2, 3), np.bool_)
    found = g.op("And", enough, stored)
    nodes = [_renamed(node) for node in model.graph.node]
    made = len(g.nodes)
    for name in OUTPUTS:
        g.op("Where", found, PREFIX + name, single(np.nan), name=name)
    raw = helper.make_graph(
        [*g.nodes[:made], *nodes, *g.nodes[made:]],
        card.arch,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["H", "W", 3])],
        [_one(value) for value in model.graph.output] + [helper.make_tensor_value_info("box", TensorProto.INT64, [4])],
        [*model.graph.initializer, *g.constants.values()],
    )
    return helper.make_model(raw, opset_imports=[helper.make_opsetid("", OPSET)])


def _preprocess(g: GraphBuilder, recipe: Recipe) -> str:
    """From ``image`` to ``images`` and ``box``; returns the name of a bool: whether that many pixels are a cell."""
    if recipe.stain not in STAINS:
        raise UserError(f"stain {recipe.stain}: not supported in model.raw.onnx: only {', '.join(STAINS)} are")
    box = crop_box(g, "image", recipe)
    cut, place = cut_out(g, "image", box)
    columns = columns_of(g, cut)
    covered = g.reduce("ReduceSum", g.cast(columns, np.float32), 1)
    if recipe.stain != "none":
        columns = columns_of(g, normalise_stain(g, cut, g.op("Transpose", covered, perm=[1, 0]), recipe))
    resize(g, columns, covered, place, recipe, "images")
    corners = [g.op("Unsqueeze", value, integer(0).reshape(1)) for value in (box.left, box.top, box.side, box.side)]
    g.op("Concat", *corners, axis=0, name="box")
    pixels = g.reduce("ReduceSum", g.cast(g.cast(covered, np.bool_), np.float32), 0, 1)
    return g.op("GreaterOrEqual", pixels, single(MINIMUM_CELL))


def _renamed(node: onnx.NodeProto) -> onnx.NodeProto:
    """The network's own outputs give their names to those that know whether there was a cell."""
    renamed = onnx.NodeProto()
    renamed.CopyFrom(node)
    renamed.input[:] = [PREFIX + name if name in OUTPUTS else name for name in node.input]
    renamed.output[:] = [PREFIX + name if name in OUTPUTS else name for name in node.output]
    return renamed


def _one(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """An output of the network for a batch of one."""
    fixed = onnx.ValueInfoProto()
    fixed.CopyFrom(value)
    fixed.type.tensor_type.shape.dim[0].dim_value = 1
    return fixed
