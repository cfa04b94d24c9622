"""The chain people write with a stain library: imread, normalise the whole frame, crop, resize, ``ShardWriter``."""

import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import webdataset

from build_shards.dataset import Cell

WINDOW, SIZE = 288, 112  # px: as in our recipe
PEERS = {
    "torchstain numpy": ("reinhard", "macenko"),
    "torchstain torch": ("reinhard", "macenko"),
    "tiatoolbox": ("reinhard", "macenko", "vahadane"),
    "torch-staintools": ("reinhard", "macenko", "vahadane"),
}
_MODULES = {
    "torchstain numpy": "torchstain",
    "torchstain torch": "torchstain.torch.normalizers",
    "tiatoolbox": "tiatoolbox.tools.stainnorm",
    "torch-staintools": "torch_staintools.normalizer",
}

Normaliser = Callable[[np.ndarray], np.ndarray]  # uint8 RGB [H, W, 3] -> the same


def why_missing(library: str) -> str | None:
    """Why a library cannot be used here, in one line; None where it can."""
    try:
        importlib.import_module(_MODULES[library])
    except Exception as error:  # a library built for another torch raises whatever it likes
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None


def build(library: str, method: str, cells: Sequence[Cell], folder: Path, reference: Path) -> None:
    """Write one tar of ``cells``, normalised to the picture ``reference`` (these libraries fit on one)."""
    normalise = _fitted(library, method, reference)
    with webdataset.ShardWriter(str(folder / "train-%06d.tar"), verbose=0) as writer:
        for i, cell in enumerate(cells):
            image = _read(cell.file)
            mask = np.any(image, axis=2)
            pixels = normalise(image) * mask[..., None]
            writer.write({"__key__": f"{i:06d}", "png": _crop(pixels, mask), "cls": cell.label or 0})


@lru_cache(maxsize=1)
def _fitted(library: str, method: str, reference: Path) -> Normaliser:
    make = {"torchstain": _torchstain, "tiatoolbox": _tiatoolbox, "torch-staintools": _torch_staintools}
    return make[library.split()[0]](library, method, _read(reference))


def _torchstain(library: str, method: str, reference: np.ndarray) -> Normaliser:
    import torch
    import torchstain

    backend = library.split()[1]

    def convert(image: np.ndarray) -> Any:
        return torch.from_numpy(image).permute(2, 0, 1) if backend == "torch" else image

    normalizer: Any = getattr(torchstain.normalizers, f"{method.capitalize()}Normalizer")(backend=backend)
    normalizer.fit(convert(reference))

    def normalise(image: np.ndarray) -> np.ndarray:
        normed = normalizer.normalize(convert(image))
        return np.asarray(normed[0] if isinstance(normed, tuple) else normed).astype(np.uint8)

    return normalise


def _tiatoolbox(_: str, method: str, reference: np.ndarray) -> Normaliser:
    normalizer: Any = importlib.import_module(_MODULES["tiatoolbox"]).get_normalizer(method)
    normalizer.fit(reference)
    return lambda image: np.asarray(normalizer.transform(image.copy())).astype(np.uint8)


def _torch_staintools(_: str, method: str, reference: np.ndarray) -> Normaliser:
    import torch

    def convert(image: np.ndarray) -> Any:
        return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    normalizer: Any = importlib.import_module(_MODULES["torch-staintools"]).NormalizerBuilder.build(method)
    normalizer.fit(convert(reference))

    def normalise(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            normed = normalizer(convert(image))[0].permute(1, 2, 0)
        return (normed * 255).clamp(0, 255).numpy().astype(np.uint8)

    return normalise


def _read(file: Path) -> np.ndarray:
    image = cv2.imread(str(file))
    assert image is not None  # our build has read every one of them
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _crop(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    y, x = (int(c.mean()) for c in np.nonzero(mask))
    padded = np.pad(pixels, ((WINDOW // 2,) * 2, (WINDOW // 2,) * 2, (0, 0)))
    return cv2.resize(padded[y : y + WINDOW, x : x + WINDOW], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
