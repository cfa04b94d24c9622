"""Predict every cell of a split, a batch at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from contract.errors import UserError
from contract.recipe import Recipe
from contract.shard_reader import SplitReader
from evaluate.orientations import Look
from evaluate.predictions import Cells, Predictions, blast_probability
from evaluate.predictor import BATCH, Prediction


@dataclass(frozen=True)
class SplitPrediction:
    """What one network says of a split, with its class activation maps, float32 ``[N, 2, h, w]``."""

    predictions: Predictions
    cam: NDArray[np.float32]
    reader: SplitReader  # of the pixels that this network saw
    positions: list[int]  # of each cell in it

    @property
    def recipe(self) -> Recipe:
        """How the pixels that this network saw were made."""
        return self.reader.recipe

    def image(self, i: int) -> NDArray[np.uint8]:
        """Cell ``i`` as this network saw it, uint8 ``[size, size, 3]`` RGB."""
        return self.reader.image(self.positions[i])


def predict_split(look: Look, reader: SplitReader, cells: Cells, positions: list[int], name: str) -> SplitPrediction:
    """Predict ``cells``, which stand at ``positions`` in the reader, in their order; ``look`` is a network's.

    Raises ``UserError`` naming the key of a cell whose prediction is not a number.
    """
    parts: list[Prediction] = []
    with tqdm(total=len(positions), unit="cell", desc=name, leave=False, disable=None) as bar:
        for start in range(0, len(positions), BATCH):
            chosen = positions[start : start + BATCH]
            images = np.stack([reader.image(i) for i in chosen])
            parts.append(_predict(look, images, tuple(reader.samples[i].key for i in chosen)))
            bar.update(len(images))
    logits, probability, cam, verdicts = (
        np.concatenate([getattr(part, column) for part in parts])
        for column in ("logits", "probability", "cam", "labels")
    )
    found = Predictions(cells, logits, blast_probability(logits, 1.0), probability, verdicts)
    return SplitPrediction(found, cam, reader, positions)


def _predict(look: Look, images: NDArray[np.uint8], keys: tuple[str, ...]) -> Prediction:
    """Predict one batch; what fails is predicted again one by one, to name the cell."""
    try:
        return look(images)
    except UserError as error:
        for image, key in zip(images, keys, strict=True):
            try:
                look(image[None])
            except UserError as alone:
                raise UserError(f"{alone}: cell {key!r}") from None
        raise UserError(f"{error}: in the batch of {keys[0]!r} to {keys[-1]!r}, though of none alone") from None
