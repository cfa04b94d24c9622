"""A network is exported with the --standardise and --colours of its training: the graph does what training did."""

import itertools
from dataclasses import replace

import numpy as np
import onnxruntime
import torch
from exported_file import to_onnx

from contract.model_card import ModelCard
from export.verify import verify
from train.normalise import Normalise
from train.resnet import BasicBlock, ResNet


def test_graph_standardises_where_the_run_did(card: ModelCard) -> None:
    rng = np.random.default_rng(0)
    crops = rng.integers(1, 200, (5, 40, 40, 3), np.uint8) * rng.integers(0, 2, (5, 40, 40, 1), np.uint8)
    weight, logits = 0.1 * torch.randn(64, 3, 7, 7, generator=torch.Generator().manual_seed(0)), {}
    for standardise, colours in ((True, True), (True, False), (False, False)):
        own = replace(card, training={"standardise": standardise, "colours": colours})
        torch.manual_seed(0)
        network = ResNet(BasicBlock, (1, 1, 1, 1), 2, own.channels).eval()
        network.conv1.weight.data[:, :3] = weight
        graph = to_onnx(network, own)
        verify(graph, network, own, crops)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        logits[standardise, colours] = session.run(["logits"], {"images": crops})[0]
        with torch.inference_mode():
            wanted = network(Normalise(card.mean, card.std, standardise, colours)(torch.from_numpy(crops))).numpy()
        assert np.abs(logits[standardise, colours] - wanted).max() < 1e-3
    for one, other in itertools.combinations(logits.values(), 2):
        assert np.abs(one - other).max() > 1e-2
