"""A network that was trained with --standardise is exported with it: the graph does what training did."""

from dataclasses import replace

import numpy as np
import onnxruntime
import torch

from contract.model_card import ModelCard
from export.graph import to_onnx
from export.verify import verify
from train.normalise import Normalise
from train.resnet import BasicBlock, ResNet


def test_graph_standardises_where_the_run_did(card: ModelCard) -> None:
    torch.manual_seed(0)
    network = ResNet(BasicBlock, (1, 1, 1, 1), 2).eval()
    rng = np.random.default_rng(0)
    crops = rng.integers(1, 200, (5, 40, 40, 3), np.uint8) * rng.integers(0, 2, (5, 40, 40, 1), np.uint8)
    logits = {}
    for standardise in (True, False):
        own = replace(card, training={"standardise": standardise})
        graph = to_onnx(network, own)
        verify(graph, network, own, crops)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        logits[standardise] = session.run(["logits"], {"images": crops})[0]
        with torch.inference_mode():
            wanted = network(Normalise(card.mean, card.std, standardise)(torch.from_numpy(crops))).numpy()
        assert np.abs(logits[standardise] - wanted).max() < 1e-3
    assert np.abs(logits[True] - logits[False]).max() > 1e-2
