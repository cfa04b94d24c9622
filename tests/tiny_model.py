"""The smallest model file that passes every rule, for tests of what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY, UNSEALED, seal


def tiny(card: ModelCard, **changes: object) -> onnx.ModelProto:
    """The smallest graph with our inputs and outputs: a linear classifier of the mean colour, unsealed."""
    weight = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weight"], ["cam"]),
        helper.make_node("ReduceMean", ["cam", "axes"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["both"], axis=1),
        helper.make_node("Gather", ["both", "one"], ["probability"], axis=1),
    ]
    outputs = {"logits": ["N", 2], "probability": ["N"], "cam": ["N", 2, 40, 40]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 40, 40, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [
            numpy_helper.from_array(weight / 20, "weight"),
            numpy_helper.from_array(np.array([2, 3]), "axes"),
            numpy_helper.from_array(np.array(1), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    stated = replace(card, **({"variant": "float32", "opset": 18, "ir": 8} | changes))  # type: ignore[arg-type]
    model.metadata_props.add(key=METADATA_KEY, value=stated.to_json())
    model.metadata_props.add(key=DIGEST_KEY, value=UNSEALED)
    return model


def write(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(seal(model.SerializeToString()))
    return path
