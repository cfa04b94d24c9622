"""The exported network as a torch module, and its translation to ONNX."""

import copy
import logging
import warnings
from dataclasses import replace
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY, UNSEALED, seal
from train.normalise import Normalise
from train.resnet import ResNet

# The exporter warns that torchvision, which this project never uses, is not installed.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)

OPSET = 18
IR = 8  # the oldest that knows this opset, so that old runtimes load the file
OUTPUTS = ("logits", "probability", "cam")


class ExportedNetwork(nn.Module):
    """uint8 ``[N, size, size, 3]`` RGB, as a shard holds it, to three float32 outputs.

    ``logits`` ``[N, 2]``; ``probability`` ``[N]`` of label 1 (blast); ``cam`` ``[N, 2, h, w]``, the class activation
    map of each label (Zhou et al. 2016, arXiv:1512.04150, eq. 2): the classifier's weights over the last feature map.
    The mean of a map plus the classifier's bias is its logit, so the map costs nothing. The card's temperature divides
    the logits inside ``probability`` alone (Guo et al. 2017, arXiv:1706.04599, section 4.2).
    """

    temperature: Tensor

    def __init__(self, network: ResNet, card: ModelCard) -> None:
        super().__init__()
        self.normalise = Normalise.of(card)
        self.network = network
        self.register_buffer("temperature", torch.tensor([card.temperature]))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network.features(self._normalised(images))
        cam = functional.conv2d(features, self.network.fc.weight[:, :, None, None])
        logits = cam.mean(dim=(2, 3)) + self.network.fc.bias
        return logits, torch.sigmoid((logits[:, 1] - logits[:, 0]) / self.temperature), cam

    def _normalised(self, images: Tensor) -> Tensor:
        """What ``Normalise`` gives, computed on planes of one long row.

        onnxruntime moves transpositions towards the convolutions and would compute with the channels last: three
        numbers at a time against mean, std and mask, several times as long. It moves none over a reshape.
        """
        height, width, channels = images.shape[1:]
        planes = images.permute(0, 3, 1, 2).reshape(-1, channels, 1, height * width)
        pixels = planes.to(self.normalise.mean.dtype)
        red, green, blue = pixels.split(1, dim=1)  # a maximum over them reads memory in leaps
        tissue = torch.maximum(torch.maximum(red, green), blue) > 0
        normalised = self.normalise.masked(pixels, tissue.to(pixels.dtype))
        return normalised.reshape(-1, self.normalise.channels, height, width)


def fold_batch_norm(network: ResNet) -> ResNet:
    """A copy in evaluation mode whose every BatchNorm is folded into the convolution before it."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        names = [name for name, child in module.named_children() if isinstance(child, nn.BatchNorm2d)]
        for name in names:
            before = conv_before(name)
            setattr(module, before, fuse_conv_bn_eval(getattr(module, before), getattr(module, name)))
            setattr(module, name, nn.Identity())
    return folded


def conv_before(norm: str) -> str:
    """The name of the convolution that a BatchNorm follows in their module: conv1 of bn1, 0 of 1."""
    return norm.replace("bn", "conv") if norm.startswith("bn") else str(int(norm) - 1)


def translate(network: ResNet, card: ModelCard) -> onnx.ModelProto:
    """The network as a graph, without card and seal; its temperature can be set later (``finish``).

    Of standard operators, float32; only the batch is dynamic.
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
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces of the exporting machine
        node.doc_string = ""
    return model


def finish(model: onnx.ModelProto, card: ModelCard, variant: Literal["float32", "int8", "raw"]) -> bytes:
    """A copy with the card's temperature, the card (of this variant) in the metadata, checked and sealed.

    Raises ``onnx.checker.ValidationError`` when the full check fails, ``ValueError`` for an operator that is not of
    the one standard opset.
    """
    finished = onnx.ModelProto()
    finished.CopyFrom(model)
    finished.ir_version, finished.producer_name, finished.producer_version = IR, "leukoshard", ""
    finished.doc_string = finished.graph.doc_string = ""
    finished.graph.name = card.arch
    _set_temperature(finished, card.temperature)
    del finished.metadata_props[:]
    stated = replace(card, variant=variant, opset=OPSET, ir=IR)
    for key, value in ((METADATA_KEY, stated.to_json()), (DIGEST_KEY, UNSEALED)):
        finished.metadata_props.add(key=key, value=value)
    domains = [(opset.domain, opset.version) for opset in finished.opset_import]
    if domains != [("", OPSET)] or any(node.domain for node in finished.graph.node):
        raise ValueError(f"{card.arch}: opsets {domains}: only the standard operators of opset {OPSET} may be used")
    onnx.checker.check_model(finished, full_check=True)
    return seal(finished.SerializeToString(deterministic=True))


def _set_temperature(model: onnx.ModelProto, temperature: float) -> None:
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name.endswith("temperature")]
    tensor.CopyFrom(numpy_helper.from_array(np.array([temperature], np.float32), tensor.name))
