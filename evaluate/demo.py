"""Raw images through the recipe in the card and every exported network: a table, and pictures."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from build_shards.preprocess import preprocess, read_image
from evaluate.figures import draw_activation
from evaluate.predictor import Prediction, Predictor, find_networks
from evaluate.report import ARCHS


@dataclass(frozen=True)
class Demo:
    """Classify raw images (BMP or PNG, one cell on black) with every exported network, and show where they look."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]  # the image files
    artifacts: Path = Path("artifacts")  # folder of the exported networks; pictures go to ARTIFACTS/demo/
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto says which provider it took
    workers: int = 0  # onnxruntime threads; 0: one a core


def demo(command: Demo) -> list[Path]:
    """Print the table image x network and write one picture an image; returns the pictures' paths."""
    predictors = {
        arch: Predictor(path, command.device, command.workers)
        for arch, path in find_networks(command.artifacts, ARCHS).items()
    }
    raw = [read_image(path)[0] for path in command.images]
    table = Table(title=_title(predictors), title_justify="left")
    for column in ("image", *predictors):
        table.add_column(column, overflow="fold")
    pictures = []
    for number, (path, image) in enumerate(zip(command.images, raw, strict=True)):
        found = {arch: _predict(predictor, image, str(path)) for arch, predictor in predictors.items()}
        table.add_row(path.name, *(_verdict(predictors[a], p, ms) for a, (_, p, ms) in found.items()))
        maps = {f"{a}: {_verdict(predictors[a], p)}": p.cam[0] for a, (_, p, _) in found.items()}
        picture = command.artifacts / "demo" / f"{number:02d}-{path.stem}.png"
        dataset = next(iter(predictors.values())).card.dataset
        crop = next(iter(found.values()))[0]
        draw_activation(crop, maps, f"{path.name} (networks trained on: {dataset})", picture)
        pictures.append(picture)
    Console(width=max(100, Console().width)).print(table)
    print("\n".join(map(str, pictures)))
    return pictures


def _predict(
    predictor: Predictor, image: NDArray[np.uint8], source: str
) -> tuple[NDArray[np.uint8], Prediction, float]:
    """The crop by this network's own recipe, its prediction, and the milliseconds that both took."""
    began = time.perf_counter()
    crop = preprocess(image, predictor.card.recipe, source).image
    prediction = predictor.predict(crop[None])
    return crop, prediction, 1000 * (time.perf_counter() - began)


def _verdict(predictor: Predictor, prediction: Prediction, milliseconds: float | None = None) -> str:
    label, blast = int(prediction.labels[0]), float(prediction.probability[0])
    text = f"{predictor.card.classes[label]} ({label}), P(blast) {blast:.3f}"
    return text if milliseconds is None else f"{text}, {milliseconds:.0f} ms"


def _title(predictors: dict[str, Predictor]) -> str:
    first = next(iter(predictors.values()))
    return f"trained on {first.card.dataset}; {first.provider}; research and teaching, not a medical device"
