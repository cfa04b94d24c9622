"""The chains of the inference benchmark: onnxruntime on our files, torch in three ways, OpenVINO where it is there."""

import copy
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from contract.model_file import int8_entries
from evaluate.matrix_tiles import for_tiles, has_tiles

Images = NDArray[np.uint8]
Chain = Callable[[Images], Any]  # uint8 [N, size, size, 3] -> logits [N, 2]


def make_chains(
    files: dict[str, bytes], module: Any, threads: int, compiled: bool
) -> tuple[dict[str, Chain], dict[str, float]]:
    """Every chain by name, and the seconds that it took to make it ready."""
    makers: dict[str, Callable[[], Chain]] = {n: lambda d=d: _session(d, threads) for n, d in files.items()}  # type: ignore[misc]
    if "ours int8" in files and has_tiles():
        makers["ours int8, zero points 0"] = makers["ours int8"]  # the file as it is
        makers["ours int8"] = lambda: _session(files["ours int8"], threads, tiles=True)  # as evaluate opens it
    makers["torch eager"] = lambda: _torch(module)
    makers["torch bf16 channels_last"] = lambda: _torch(
        copy.deepcopy(module).to(memory_format=torch.channels_last), torch.bfloat16
    )
    if compiled:
        torch._dynamo.reset()  # else a second size meets the first one's graph, and is compiled with sizes left open
        makers["torch.compile"] = lambda: _torch(torch.compile(module, dynamic=False))
    if find_spec("openvino"):
        makers["OpenVINO float32"] = lambda: _openvino(files["ours float32"], threads, "f32")
        makers["OpenVINO default"] = lambda: _openvino(files["ours float32"], threads, None)
        if "ours int8" in files:
            makers["OpenVINO int8 (our QDQ)"] = lambda: _openvino(files["ours int8"], threads, None)
    return start_chains(makers)


def start_chains(makers: dict[str, Callable[[], Chain]]) -> tuple[dict[str, Chain], dict[str, float]]:
    """Every chain by name, made ready one after the other, and the seconds that it took."""
    chains, starts = {}, {}
    for name, make in makers.items():
        began = time.perf_counter()
        chains[name] = make()
        starts[name] = time.perf_counter() - began
    return chains, starts


def _session(data: bytes, threads: int, *, tiles: bool = False) -> Chain:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for entry in int8_entries(onnx.load_from_string(data)):  # as evaluate opens its files: those of the file itself
        options.add_session_config_entry(*entry)
    session = onnxruntime.InferenceSession(
        for_tiles(data) if tiles else data, options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(["logits"], {"images": images})[0]


def _torch(module: Any, autocast: torch.dtype | None = None) -> Chain:
    def run(images: Images) -> NDArray:
        with torch.inference_mode(), torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            logits: NDArray = module(torch.from_numpy(images))[0].float().numpy()
            return logits

    return run


def _openvino(data: bytes, threads: int, precision: str | None) -> Chain:
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(data)
        file.flush()
        compiled = core.compile_model(file.name, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda images: request.infer({"images": images})["logits"]
