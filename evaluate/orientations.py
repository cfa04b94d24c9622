"""A cell has no up: look at it from all eight sides and take the mean (test-time averaging)."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from evaluate.predictions import blast_probability
from evaluate.predictor import Prediction, Predictor

Look = Callable[[NDArray[np.uint8]], Prediction]  # at uint8 [N, size, size, 3] images
SIDES = 8  # four quarter turns of an image, and of its mirror image: no pixel is interpolated


def look_of(predictor: Predictor, orientations: int) -> Look:
    """How a network looks at images: once, or from all ``SIDES`` sides."""
    return predictor.predict if orientations == 1 else partial(predict_from_all_sides, predictor)


def predict_from_all_sides(predictor: Predictor, images: NDArray[np.uint8]) -> Prediction:
    """Predict uint8 ``[N, size, size, 3]`` images from eight sides: mean logits, and mean maps turned back.

    The probability is the logistic function of the mean logits at the card's temperature, so a network that says the
    same from every side says it here. Takes eight times as long; raises what ``Predictor.predict`` raises.
    """
    looks = [predictor.predict(np.ascontiguousarray(turn(images, side))) for side in range(SIDES)]
    logits = np.stack([look.logits for look in looks]).mean(axis=0)
    cam = np.stack([turn_back(look.cam, side) for side, look in enumerate(looks)]).mean(axis=0)
    probability = blast_probability(logits, predictor.card.temperature)
    return Prediction(logits, probability, cam, predictor.card.threshold)


def turn(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Side 0 to 7 of ``[N, H, W, 3]`` images: ``side % 4`` quarter turns, from 4 on of the mirror image."""
    return np.rot90(images[:, :, ::-1] if side >= 4 else images, side % 4, axes=(1, 2))


def turn_back(maps: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Undo ``turn`` on maps ``[N, C, h, w]``."""
    upright = np.rot90(maps, -(side % 4), axes=(2, 3))
    return upright[:, :, :, ::-1] if side >= 4 else upright
