"""A model file that has a right seal and is refused by a rule; images and outputs that no network here has."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_model import tiny, write

from contract.errors import UserError
from contract.model_card import ModelCard
from contract.model_file import EXACT_INT8
from contract.recipe import Recipe
from evaluate.model_check import read_model
from evaluate.predictor import Predictor

OTHERS: dict[str, Any] = {
    "dataset": "others",
    "recipe": Recipe(size=40, crop="box"),
    "mean": (1.0, 2.0, 3.0),
    "std": (1.0, 2.0, 3.0),
    "manifest_digest": "b" * 64,
    "seed": 5,
    "epoch": 5,
    "training": {"lr": 1.0},
    "versions": {"torch": "other"},
    "temperature": 2.0,
    "threshold": 0.25,
    "operating_point": "balanced",
    "classes": ("HEM", "ALL"),
    "arch": "resnet50",
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_int8_file_that_differs_from_model_onnx_in_anything_that_decides_is_refused(
    name: str, card: ModelCard, tmp_path: Path
) -> None:
    path = write(tiny(card, variant="int8"), tmp_path / "model.int8.onnx")
    write(tiny(card), tmp_path / "model.onnx")
    read_model(path)
    write(tiny(card, **{name: OTHERS[name]}), tmp_path / "model.onnx")
    with pytest.raises(UserError, match=rf"its {name} differs"):
        read_model(path)


def _nothing(_: onnx.ModelProto) -> None:
    pass


def _functions(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model.functions.append(helper.make_function("", "Softmax", ["x"], ["y"], nodes, [helper.make_opsetid("", 18)]))


def _sparse(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2]))


def _training(model: onnx.ModelProto) -> None:
    model.training_info.add()


def _graphs(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("branches", [inner]))


@pytest.mark.parametrize(
    ("change", "stated", "words"),
    [
        (_functions, {}, "holds functions, training or sparse tensors"),
        (_sparse, {}, "holds functions, training or sparse tensors"),
        (_training, {}, "holds functions, training or sparse tensors"),
        (_graphs, {}, "holds a graph of its own"),
        (_nothing, {"variant": "checkpoint"}, "its card is that of a checkpoint, not of an ONNX file"),
        (_nothing, {"opset": 17}, "its card states opset 17"),
    ],
)
def test_sealed_files_of_further_kinds_are_refused(
    change: Callable[[onnx.ModelProto], None], stated: dict[str, Any], words: str, card: ModelCard, tmp_path: Path
) -> None:
    model = tiny(card, **stated)
    change(model)
    with pytest.raises(UserError, match=words):
        read_model(write(model, tmp_path / "model.onnx"))


def test_a_raw_image_larger_than_memory_allows_is_refused_unrun(card: ModelCard) -> None:
    predictor = Predictor.__new__(Predictor)  # without a session: nothing may be run
    predictor.path, predictor.card = Path("model.raw.onnx"), replace(card, variant="raw")
    for shape, said in (((1, 8193, 3), "8193 x 1"), ((8193, 1, 3), "1 x 8193")):
        with pytest.raises(UserError, match=f"the image is {said} px: at most 8192 a side"):
            predictor.predict_raw(np.broadcast_to(np.uint8(9), shape))
    for shape in ((9, 9), (9, 9, 4), (0, 9, 3), (9, 0, 3), (1, 9, 9, 3)):
        with pytest.raises(UserError, match=r"takes uint8 \[H, W, 3\], got uint8"):
            predictor.predict_raw(np.ones(shape, np.uint8))
    with pytest.raises(UserError, match=r"takes uint8 \[H, W, 3\], got float32"):
        predictor.predict_raw(np.ones((9, 9, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="takes raw images, not crops"):
        predictor.predict(np.ones((1, 40, 40, 3), np.uint8))


def test_int8_sums_that_could_saturate_are_made_exact_where_the_file_is_opened(card: ModelCard, tmp_path: Path) -> None:
    model = tiny(card, variant="int8")
    model.graph.initializer.append(numpy_helper.from_array(np.full((1, 2, 1, 1), 127, np.int8), "large"))
    options = Predictor(write(model, tmp_path / "model.int8.onnx"), "cpu", 1).session.get_session_options()
    key, value = EXACT_INT8
    assert options.get_session_config_entry(key) == value


def test_outputs_of_another_shape_are_refused(card: ModelCard, tmp_path: Path) -> None:
    model = tiny(card)  # of three classes from here on
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "weight"]
    weight.CopyFrom(numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "weight"))
    for value in model.graph.output:
        if value.name in ("logits", "cam"):
            value.type.tensor_type.shape.dim[1].dim_value = 3
    predictor = Predictor(write(model, tmp_path / "model.onnx"), "cpu", 1)
    with pytest.raises(UserError, match="its outputs have other shapes"):
        predictor.predict(np.full((2, 40, 40, 3), 9, np.uint8))


def _renamed(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """An output is called "whole", so that another node can give what has its name."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["whole" if one == name else one for one in names]
    return model


@pytest.mark.parametrize("name", ["logits", "probability", "cam"])
def test_an_output_that_is_one_number_is_refused(name: str, card: ModelCard, tmp_path: Path) -> None:
    model = _renamed(tiny(card), name)
    model.graph.node.append(helper.make_node("ReduceMean", ["whole"], [name], keepdims=0))
    for value in model.graph.output:
        if value.name == name:
            value.type.tensor_type.shape.ClearField("dim")
    predictor = Predictor(write(model, tmp_path / "model.onnx"), "cpu", 1)
    with pytest.raises(UserError, match="its outputs have other shapes"):
        predictor.predict(np.full((2, 40, 40, 3), 9, np.uint8))


@pytest.mark.parametrize("name", ["logits", "probability", "cam"])
def test_an_output_of_text_or_of_a_sequence_is_refused(name: str, card: ModelCard, tmp_path: Path) -> None:
    text, sequence = _renamed(tiny(card), name), _renamed(tiny(card), name)
    text.graph.node.append(helper.make_node("Cast", ["whole"], [name], to=TensorProto.STRING))
    (value,) = (value for value in text.graph.output if value.name == name)
    value.type.tensor_type.elem_type = TensorProto.STRING
    sequence.graph.node.append(helper.make_node("SequenceConstruct", ["whole"], [name]))
    (value,) = (value for value in sequence.graph.output if value.name == name)
    value.CopyFrom(helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None))
    for model in (text, sequence):
        with pytest.raises(UserError, match=f"its {name} is of another type"):
            Predictor(write(model, tmp_path / "model.onnx"), "cpu", 1)
