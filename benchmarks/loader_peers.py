"""Who is compared with whom in benchmarks/loader.py: ours, and what people use."""

import contextlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from torch.utils.data import DataLoader, Dataset

from build_shards.dataset import Cell
from build_shards.preprocess import preprocess, read_image
from contract.manifest import load_manifest
from contract.recipe import Recipe
from contract.shard_reader import SplitReader
from train.cache import Cache, CacheKind
from train.data import open_cache, open_labelled, train_batches

CPU = torch.device("cpu")


@dataclass
class Counted:
    """An epoch whose samples are counted, so that a pipeline that lost some is no record."""

    batches: Iterable[Any]
    cells: int


Epoch = Callable[[int], Iterable[Any] | Counted]  # number of the epoch -> its batches


def peers(cells: list[Cell], size: int, folder: Path, batch_size: int) -> dict[str, Callable[[int], Epoch]]:
    """Name -> number of workers -> epochs of that loader."""
    png, npy = (opened(folder / kind) for kind in ("png", "npy"))
    rows: dict[str, Callable[[int], Epoch]] = {
        "webdataset": partial(_webdataset, sorted((folder / "png").glob("train-*.tar")), batch_size, len(cells)),
        "Dataset over BMPs": partial(_on_the_fly, cells, Recipe(size=size), batch_size),
        "ours, cold": partial(ours, png, batch_size, "none"),
        "ours, cold, npy shards": partial(ours, npy, batch_size, "none"),
        "ours, --cache ram, first epoch": partial(_first_epoch, png, batch_size),
        "ours, --cache ram": partial(ours, png, batch_size, "ram"),
        "ours, --cache device (CPU)": partial(ours, png, batch_size, "device"),
    }
    litdata = _litdata(png, folder / "litdata", batch_size)
    return rows | ({"litdata, raw pixels": litdata} if litdata else {})


def opened(folder: Path) -> SplitReader:
    return open_labelled(folder, load_manifest(folder), "train")


def ours(reader: SplitReader, batch_size: int, kind: CacheKind, workers: int) -> Callable[[int], Iterable[Any]]:
    cache: Cache | None = open_cache(kind, reader, CPU, workers)
    epochs = partial(_epoch, reader, batch_size, workers, cache)
    if kind == "ram":
        list(epochs(0))  # fills it
    return epochs


def _first_epoch(reader: SplitReader, batch_size: int, workers: int) -> Epoch:
    return lambda epoch: _epoch(reader, batch_size, workers, open_cache("ram", reader, CPU, workers), epoch)


def _epoch(reader: SplitReader, batch_size: int, workers: int, cache: Cache | None, epoch: int) -> Iterable[Any]:
    return train_batches(reader, batch_size, 0, epoch, workers, pin=False, cache=cache)


def _webdataset(tars: list[Path], batch_size: int, cells: int, workers: int) -> Epoch:
    """The usual pipeline: shards shuffled, a shuffle buffer, PIL, batches; uint8 as ours, no float conversion."""

    def epoch(number: int) -> Counted:
        samples = webdataset.WebDataset(list(map(str, tars)), shardshuffle=len(tars), seed=number).shuffle(1000)
        batches = samples.decode("rgb8").to_tuple("png", "cls", "__key__").batched(batch_size)
        return Counted(webdataset.WebLoader(batches, batch_size=None, num_workers=workers), cells)

    return epoch


class _OnTheFly(Dataset):
    """What course solutions write: read the BMP and preprocess it whenever it is asked for."""

    def __init__(self, cells: list[Cell], recipe: Recipe) -> None:
        self.cells = cells
        self.recipe = recipe

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, str]:
        cell = self.cells[index]
        return preprocess(read_image(cell.file)[0], self.recipe, cell.source).image, cell.label or 0, cell.source


def _on_the_fly(cells: list[Cell], recipe: Recipe, batch_size: int, workers: int) -> Epoch:
    return lambda _: DataLoader(_OnTheFly(cells, recipe), batch_size, shuffle=True, num_workers=workers)


def _litdata(reader: SplitReader, folder: Path, batch_size: int) -> Callable[[int], Epoch] | None:
    """The same pixels as litdata keeps images that are handed to it: raw, without compression."""
    try:
        import litdata
    except ImportError:
        print("litdata is not installed: its row is left out (pip install -r requirements-bench.txt)")
        return None
    samples = [
        (i, int(label), sample.key) for i, (label, sample) in enumerate(zip(reader.labels, reader.samples, strict=True))
    ]
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(io.StringIO()):
        litdata.optimize(
            partial(_litdata_sample, reader),
            samples,
            str(folder),
            chunk_bytes="32MB",
            num_workers=1,
            start_method="fork",
        )

    def epochs(workers: int) -> Epoch:
        def epoch(number: int) -> Iterable[Any]:
            dataset = litdata.StreamingDataset(str(folder), shuffle=True, seed=number)
            return litdata.StreamingDataLoader(dataset, batch_size=batch_size, num_workers=workers)

        return epoch

    return epochs


def _litdata_sample(reader: SplitReader, sample: tuple[int, int, str]) -> dict[str, Any]:
    position, label, key = sample
    return {"image": reader.image(position), "label": label, "key": key}
