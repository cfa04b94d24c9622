"""A trained network on its way to its files: translated once, with the cells that temperature and gates look at."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from contract.bootstrap import people_of
from contract.manifest import NAME, load_manifest
from contract.model_card import ModelCard
from contract.model_file import int8_entries
from contract.shard_reader import SplitReader
from export.calibrate import People, probabilities
from train.resnet import ResNet

BATCH = 16
Logits = NDArray[np.float32]  # [N, 2]


@dataclass(frozen=True)
class Cells:
    """The splits of a network's own shards."""

    train: SplitReader
    valid: SplitReader
    labels: NDArray[np.int64]  # of valid
    people: People | None  # of valid, where they are known


@dataclass(frozen=True)
class Source:
    """What every variant of one network is made of."""

    card: ModelCard  # with temperature and threshold
    network: ResNet
    graph: onnx.ModelProto  # of ``translate``
    cells: Cells | None  # None without the network's own shards
    logits: Logits | None  # of valid, by the float32 file; None without them

    def decisions(self, logits: Logits) -> NDArray[np.bool_]:
        """Which cells are called a blast, bool ``[N]``."""
        return self.probabilities(logits) >= self.card.threshold

    def probabilities(self, logits: Logits) -> NDArray[np.float64]:
        """Calibrated, of a blast, float64 ``[N]``."""
        return probabilities(logits, self.card.temperature)


def open_cells(folders: tuple[Path, ...], card: ModelCard) -> Cells | None:
    """The cells that the network was trained and validated on; ``None`` where no folder holds its shards."""
    for folder in folders:
        if (folder / NAME).is_file() and (manifest := load_manifest(folder)).digest == card.manifest_digest:
            valid = SplitReader(folder, manifest, "valid")
            identities = [manifest.identities.get(subject or "") for subject in valid.subjects]
            drawn = people_of(valid.subjects, identities, [sample.key for sample in valid.samples])
            people = None if drawn is None else People(tuple(drawn), any(identities))
            return Cells(SplitReader(folder, manifest, "train"), valid, valid.labels, people)
    return None


def logits_of(onnx_bytes: bytes, split: SplitReader) -> Logits:
    """What a file says of a whole split, float32 ``[N, 2]``."""
    options = onnxruntime.SessionOptions()
    for entry in int8_entries(onnx.load_from_string(onnx_bytes)):
        options.add_session_config_entry(*entry)
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    parts = [session.run(["logits"], {"images": images})[0] for images in _batches(split)]
    return np.concatenate(parts)


def _batches(split: SplitReader) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(split), BATCH):
        yield np.stack([split.image(i) for i in range(start, min(start + BATCH, len(split)))])
