"""Folding BatchNorm into the convolutions, for every network; only standard operators make a file."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from as_trained import as_trained
from onnx import helper, numpy_helper
from tiny_model import tiny

from contract.model_card import METADATA_KEY, ModelCard
from export.graph import finish, fold_batch_norm


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnet152"])
def test_folding_batch_norm_changes_no_logit(arch: str) -> None:
    network = as_trained(arch).double()
    before = network.conv1.weight.clone()
    x = torch.randn((2, 3, 33, 33), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.inference_mode():
        folded = fold_batch_norm(network)
        wanted, found = network(x), folded(x)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert (found - wanted).abs().max() < 1e-9 * wanted.abs().max()
    # The network itself goes on as it was.
    assert torch.equal(network.conv1.weight, before)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def _foreign_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _foreign_node(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"


@pytest.mark.parametrize("change", [_foreign_opset, _foreign_node])
def test_operators_that_are_not_standard_are_not_exported(
    change: Callable[[onnx.ModelProto], None], card: ModelCard
) -> None:
    model = tiny(card)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1]), "temperature"))
    change(model)
    with pytest.raises(ValueError, match="only the standard operators of opset 18 may be used"):
        finish(model, card, "float32")


def test_a_graph_that_onnx_finds_faulty_is_not_exported(card: ModelCard) -> None:
    model = tiny(card)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1]), "temperature"))
    finish(model, card, "float32")
    model.graph.node[2].input[0] = "nothing makes this"
    with pytest.raises(onnx.checker.ValidationError, match="nothing makes this"):
        finish(model, card, "float32")


def test_a_file_says_whose_it_is_and_nothing_of_what_made_it(card: ModelCard) -> None:
    model = tiny(card)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1]), "temperature"))
    model.producer_name, model.producer_version, model.doc_string = "another", "2.1", "made on a Monday"
    model.graph.doc_string, model.ir_version = "by somebody", 10
    made = onnx.load_from_string(finish(model, replace(card, temperature=1.5), "raw"))
    assert (made.producer_name, made.producer_version, made.ir_version) == ("leukoshard", "", 8)
    assert (made.doc_string, made.graph.doc_string, made.graph.name) == ("", "", "resnet18")
    (temperature,) = [numpy_helper.to_array(t) for t in made.graph.initializer if t.name == "temperature"]
    assert temperature.tolist() == [1.5]
    (stated,) = [ModelCard.from_json(entry.value) for entry in made.metadata_props if entry.key == METADATA_KEY]
    assert (stated.variant, stated.temperature, stated.opset, stated.ir) == ("raw", 1.5, 18, 8)
