"""The chains of the inference benchmark on a GPU: onnxruntime in three precisions, torch in bfloat16 and float32.

Each takes uint8 crops from the host's memory and gives logits back there, as ``evaluate`` does: both copies are timed.
torch eager has TF32 in its convolutions, as torch has by default.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.inference_chains import Chain, Images, start_chains
from contract.errors import UserError
from evaluate.predictor import CUDA, run_bound


def make_gpu_chains(
    float32: bytes, module: Any, compiled: bool, device: str = "cuda"
) -> tuple[dict[str, Chain], dict[str, float]]:
    """Every chain by name, and the seconds that it took to make it ready; on "cpu" the same chains, for tests.

    Raises ``UserError`` where onnxruntime has no usable CUDA: timed would be the CPU.
    """
    half = to_float16(float32)
    channels_last = copy.deepcopy(module).to(memory_format=torch.channels_last)
    makers: dict[str, Callable[[], Chain]] = {
        "ours float32": lambda: _session(float32, device, tf32=False),
        "ours TF32": lambda: _session(float32, device, tf32=True),
        "ours float16": lambda: _session(half, device, tf32=False),
        "torch eager": lambda: _torch(module, device, None),
        "torch bf16 channels_last": lambda: _torch(channels_last, device, torch.bfloat16),
    }
    if compiled:
        torch._dynamo.reset()  # else a second size meets the first one's graph, and is compiled with sizes left open
        whole = torch.compile(channels_last, dynamic=False)
        makers["torch.compile, bf16"] = lambda: _torch(whole, device, torch.bfloat16)
    return start_chains(makers)


def to_float16(float32: bytes) -> bytes:
    """The convolutions of a float32 file and what lies between them in float16; pixels and verdict stay as they are.

    The sums over an image's pixels, by which cells are standardised, reach millions: float16 ends at 65,504.
    """
    model = onnx.load_from_string(float32)
    nodes = list(model.graph.node)
    first = next(i for i, node in enumerate(nodes) if node.op_type == "Conv")
    last = next(i for i, node in enumerate(nodes) if "cam" in node.output)  # convolves with the classifier's weights
    constants = {name for node in nodes[first:last] if node.op_type == "Conv" for name in node.input[1:]}
    for tensor in model.graph.initializer:
        if tensor.name in constants:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    pixels, features = nodes[first].input[0], nodes[last].input[0]
    nodes[first].input[0], nodes[last].input[0] = f"{pixels}.half", f"{features}.single"
    into = helper.make_node("Cast", [pixels], [f"{pixels}.half"], to=TensorProto.FLOAT16)
    back = helper.make_node("Cast", [features], [f"{features}.single"], to=TensorProto.FLOAT)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend([*nodes[:first], into, *nodes[first:last], back, *nodes[last:]])
    return bytes(model.SerializeToString())


def _session(data: bytes, device: str, tf32: bool) -> Chain:
    options = onnxruntime.SessionOptions()
    if device == "cuda":
        onnxruntime.preload_dlls()  # those that torch brings
    cuda = (CUDA[0], CUDA[1] | {"use_tf32": str(int(tf32))})
    providers = [cuda] * (device == "cuda") + ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(data, options, providers=providers)
    if device == "cuda" and session.get_providers()[0] != CUDA[0]:
        raise UserError("--device cuda: onnxruntime has no usable CUDA provider here, it would run on the CPU")
    outputs = [output.name for output in session.get_outputs()]
    return lambda images: run_bound(session, "images", images, device)[outputs.index("logits")]


def _torch(module: Any, device: str, autocast: torch.dtype | None) -> Chain:
    placed = module.to(device)

    def run(images: Images) -> NDArray:
        with torch.inference_mode(), torch.autocast(device, autocast or torch.bfloat16, enabled=autocast is not None):
            logits: NDArray = placed(torch.from_numpy(images).to(device))[0].float().cpu().numpy()
            return logits

    return run
