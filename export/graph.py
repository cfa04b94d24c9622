"""The exported network as a torch module, and its translation to ONNX."""

import copy
import logging
import warnings
from dataclasses import replace

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from contract.model_card import METADATA_KEY, ModelCard
from train.normalise import Normalise
from train.resnet import ResNet

# The exporter warns that torchvision, which this project never uses, is not installed.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)

OPSET = 18
OUTPUTS = ("logits", "probability", "cam")


class ExportedNetwork(nn.Module):
    """uint8 ``[N, size, size, 3]`` RGB, as a shard holds it, to three float32 outputs.

    ``logits`` ``[N, 2]``; ``probability`` ``[N]`` of label 1 (blast); ``cam`` ``[N, 2, h, w]``, the class activation
    map of each label (Zhou et al. 2016, arXiv:1512.04150, eq. 2): the classifier's weights over the last feature map.
    The mean of a map plus the classifier's bias is its logit, so the map costs nothing. The card's temperature divides
    the logits inside ``probability`` alone (Guo et al. 2017, arXiv:1706.04599, section 4.2).
    """

    def __init__(self, network: ResNet, card: ModelCard) -> None:
        super().__init__()
        self.normalise = Normalise(card.mean, card.std, card.training.get("standardise") is True)
        self.network = network
        self.temperature = card.temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network.features(self.normalise(images))
        cam = functional.conv2d(features, self.network.fc.weight[:, :, None, None])
        logits = cam.mean(dim=(2, 3)) + self.network.fc.bias
        return logits, torch.sigmoid((logits[:, 1] - logits[:, 0]) / self.temperature), cam


def fold_batch_norm(network: ResNet) -> ResNet:
    """A copy in evaluation mode whose every BatchNorm is folded into the convolution before it."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        names = [name for name, child in module.named_children() if isinstance(child, nn.BatchNorm2d)]
        for name in names:
            before = name.replace("bn", "conv") if name.startswith("bn") else str(int(name) - 1)
            setattr(module, before, fuse_conv_bn_eval(getattr(module, before), getattr(module, name)))
            setattr(module, name, nn.Identity())
    return folded


def to_onnx(network: ResNet, card: ModelCard) -> bytes:
    """Translate to one ONNX file of standard operators with the card in its metadata; only the batch is dynamic.

    Raises ``onnx.checker.ValidationError`` when the full check of the result fails.
    """
    module = ExportedNetwork(fold_batch_norm(network), card).eval()
    example = torch.zeros(2, card.recipe.size, card.recipe.size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # raised inside the exporter, about its own pytree
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["images"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("N")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    model = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces of the exporting machine
        node.doc_string = ""
    entry = model.metadata_props.add()
    stated = replace(card, variant="float32", opset=OPSET, ir=model.ir_version)
    entry.key, entry.value = METADATA_KEY, stated.to_json()
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
