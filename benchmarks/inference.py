"""Inference: our ONNX files beside torch and OpenVINO on the same crops, in one run.

    python -m benchmarks.inference --artifacts ARTIFACTS --shards SHARDS SHARDS64 --data DATA  # make bench-inference

Chains run in turn, so that a slow moment of the machine meets them all: a pause in which the threads of the one before
fall asleep, a call to warm up, a timed call; the least of the repeats counts. The crops are those of valid (noise at
another size). Ratio: chain / our float32 at the same batch, below 1 is faster. With ``--device cuda --batches 1 4 16
64 256``: float32, TF32 and float16 on the GPU, beside torch.
"""

import os
import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.counts import refuse_counts
from benchmarks.inference_chains import Chain, Images, make_chains
from benchmarks.inference_gpu import make_gpu_chains
from build_shards.preprocess import preprocess, read_image
from contract.command import run_command
from contract.errors import UserError
from contract.manifest import load_manifest
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from export.graph import ExportedNetwork, finish, fold_batch_norm, translate
from export.int8_ranges import measure_ranges
from export.quantize import quantize
from train.checkpoint import load_checkpoint, load_weights
from train.normalise import Normalise
from train.resnet import build_resnet

PAUSE = 0.05  # seconds; idle threads of a library go on spinning for some time, and disturb whoever is timed


@dataclass(frozen=True)
class Bench:
    """Milliseconds of every chain at every batch and size, with the ratio to our float32 file."""

    artifacts: Path = Path("artifacts")  # folder of the trained networks
    shards: tuple[Path, ...] = (Path("shards"),)  # their shards; each network is shown those that it was trained on
    data: Path | None = None  # folder of the raw images; model.raw.onnx is timed where it is given
    archs: tuple[Literal["resnet18", "resnet50", "resnet152"], ...] = ("resnet18", "resnet50", "resnet152")  # networks
    sizes: tuple[int, ...] = (112, 224)  # px, besides each network's own; timed on noise, without accuracy
    batches: tuple[int, ...] = (1, 16)  # images at once
    repeats: int = 20  # the best one counts
    cells: int = 977  # of valid, for the accuracy; 0: none
    threads: int = 0  # of every chain; 0: one a core
    compile: bool = True  # torch.compile too, which takes minutes
    device: Literal["cpu", "cuda"] = "cpu"  # cuda: chains of the GPU


def main() -> None:
    """Time everything and print one table a network and size."""
    command = tyro.cli(Bench, description=__doc__)
    refuse_counts(command, zero=("cells", "threads"))
    threads = command.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    if command.device == "cuda":
        _refuse_on_gpu(command)
    elif find_spec("openvino") is None:
        print("OpenVINO is not installed (requirements-bench.txt): its rows are left out")
    for arch in command.archs:
        _bench(arch, command, threads)
    packages = ("numpy", "onnxruntime-gpu", "torch", *(("openvino",) if find_spec("openvino") else ()))
    print(", ".join(f"{package} {version(package)}" for package in packages), f"python {platform.python_version()}")
    processor = platform.processor() or platform.machine()
    name = torch.cuda.get_device_name() if command.device == "cuda" else f"{processor}, {threads} threads"
    print(f"{name}, least of {command.repeats}")


def _refuse_on_gpu(command: Bench) -> None:
    if command.data is not None:
        raise UserError(f"--data {command.data}: model.raw.onnx is timed with --device cpu alone")
    if not torch.cuda.is_available():
        raise UserError("--device cuda: torch has no usable GPU here")


def _bench(arch: str, command: Bench, threads: int) -> None:
    path = command.artifacts / arch / "best.pt"
    card, state = load_checkpoint(path)
    network = build_resnet(arch, channels=card.channels)
    load_weights(network, state, path)
    valid = open_valid(command.shards, card, path)
    for size in dict.fromkeys((card.recipe.size, *command.sizes)):
        _bench_size(network, card, size, valid, command, threads)


def open_valid(folders: Sequence[Path], card: ModelCard, source: Path) -> SplitReader:
    """The split valid of the shards whose manifest is on the card; raises ``UserError`` where no folder is."""
    for folder in folders:
        manifest = load_manifest(folder)
        if manifest.digest == card.manifest_digest:
            return SplitReader(folder, manifest, "valid")
    named = " ".join(map(str, folders))
    raise UserError(
        f"{source}: was trained on other shards than --shards {named} (manifest digests differ): name its own"
    )


def _bench_size(network: Any, card: ModelCard, size: int, valid: SplitReader, command: Bench, threads: int) -> None:
    arch, own = card.arch, card.recipe.size == size
    most = max(16, *command.batches)
    if own and len(valid) < most:
        raise UserError(
            f"--batches {max(command.batches)}: valid has {len(valid)} cells, and at least {most} are needed"
        )
    cells = np.stack([valid.image(i) for i in range(min(len(valid), max(command.cells, most)))])
    images = cells if own else np.random.default_rng(0).integers(0, 256, (most, size, size, 3), np.uint8)
    sized = replace(card, recipe=replace(card.recipe, size=size))
    files = _files(network.eval(), sized, images, command.artifacts / arch if own else None)
    module = ExportedNetwork(network, sized).eval()
    if command.device == "cuda":
        chains, starts = make_gpu_chains(files["ours float32"], module, command.compile)
    else:
        chains, starts = make_chains(files, module, threads, command.compile)
    best = {
        (name, batch): 1000 * seconds
        for batch in command.batches
        for name, seconds in _time(chains, images[:batch], command.repeats).items()
    }
    labels = np.array([sample.label for sample in valid.samples[: len(images)]])
    accuracy = _accuracies(chains, images, labels, card) if own and command.cells else {}
    _print(f"{arch}, {size} px", best, command.batches, starts, {n: len(d) / 1e6 for n, d in files.items()}, accuracy)
    if own and command.data is not None:
        _bench_raw(command, arch, card, valid, threads)


def _files(network: Any, card: ModelCard, images: Images, folder: Path | None) -> dict[str, bytes]:
    """Our float32 and int8 files: the published ones, or at another size made here, their ranges from ``images``."""
    if folder is not None:
        paths = {"ours float32": folder / "model.onnx", "ours int8": folder / "model.int8.onnx"}
        refuse_missing(paths["ours float32"])
        return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
    graph, normalise = translate(network, card), Normalise.of(card)
    ranges = measure_ranges(fold_batch_norm(network), normalise, torch.from_numpy(images[:8]), ())
    return {"ours float32": finish(graph, card, "float32"), "ours int8": finish(quantize(graph, ranges), card, "int8")}


def refuse_missing(file: Path) -> None:
    """Raise ``UserError`` where an exported file is not there."""
    if not file.is_file():
        raise UserError(f"{file}: no such file: export the network first (make export)")


def _time(chains: dict[str, Chain], images: Images, repeats: int) -> dict[str, float]:
    """Seconds of a call, by chain: the least of ``repeats`` turns."""
    best = dict.fromkeys(chains, float("inf"))
    for _ in range(repeats):
        for name, chain in chains.items():
            time.sleep(PAUSE)
            chain(images)  # untimed: its own threads wake up, its weights come back to the cache
            began = time.perf_counter()
            chain(images)
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def _accuracies(chains: dict[str, Chain], images: Images, labels: NDArray, card: ModelCard) -> dict[str, float]:
    """Of every chain on cells of valid; of no chain where the network learned valid too (``train --refit``)."""
    return {} if card.refit else {name: _accuracy(chain, images, labels) for name, chain in chains.items()}


def _accuracy(chain: Chain, images: Images, labels: NDArray) -> float:
    """Of all images, in batches of 16, as compiled chains have one shape: the last is filled up with the first ones."""
    rows = np.arange(-(-len(images) // 16) * 16) % len(images)
    found = np.concatenate([chain(images[part]) for part in rows.reshape(-1, 16)])[: len(images)]
    return float((found.argmax(1) == labels).mean())


def _bench_raw(command: Bench, arch: str, card: ModelCard, valid: SplitReader, threads: int) -> None:
    """model.raw.onnx on a raw image beside model.onnx on its crop, and beside the builder's crop in front of that."""
    folder = command.artifacts / arch
    refuse_missing(folder / "model.raw.onnx")
    image = read_image((command.data or Path()) / valid.info(0)["source"])[0]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    raw, plain = (
        onnxruntime.InferenceSession(folder / f"model{s}.onnx", options, ["CPUExecutionProvider"]) for s in (".raw", "")
    )
    crop = preprocess(image, card.recipe, "cell").image[None]
    chains: dict[str, Chain] = {
        "model.raw.onnx": lambda _: raw.run(["logits"], {"image": image}),
        "model.onnx on the crop": lambda _: plain.run(["logits"], {"images": crop}),
        "builder, then model.onnx": lambda _: plain.run(
            ["logits"], {"images": preprocess(image, card.recipe, "cell").image[None]}
        ),
    }
    best = _time(chains, crop, command.repeats)
    added = 1000 * (best["model.raw.onnx"] - best["model.onnx on the crop"])
    print(", ".join(f"{n} {1000 * s:.2f} ms" for n, s in best.items()), f": raw adds {added:.2f} ms")


def _print(
    title: str,
    best: dict[tuple[str, int], float],
    batches: tuple[int, ...],
    starts: dict[str, float],
    megabytes: dict[str, float],
    accuracy: dict[str, float],
) -> None:
    table = Table(
        title=f"{title}; peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
    )
    per_batch = [f"{what} at {batch}" for batch in batches for what in ("ms", "images/s", "ratio")]
    for column in ("chain", *per_batch, "start s", "MB", "accuracy"):
        table.add_column(column, justify="left" if column == "chain" else "right")
    for name, start in starts.items():
        cells = []
        for batch in batches:
            ms = best[name, batch]
            cells += [f"{ms:.2f}", f"{1000 * batch / ms:.0f}", f"{ms / best['ours float32', batch]:.2f}"]
        size = f"{megabytes[name]:.1f}" if name in megabytes else "-"
        share = f"{accuracy[name]:.2%}" if name in accuracy else "-"
        table.add_row(name, *cells, f"{start:.2f}", size, share)
    Console(width=60 + 35 * len(batches)).print(table)


if __name__ == "__main__":
    run_command("benchmarks.inference")
