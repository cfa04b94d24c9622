"""Logits and labels whose best temperature is known, for tests of calibration."""

import numpy as np
from scipy.special import expit

N = 200


def drawn(seed: int, temperature: float = 1.0, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 ``[n, 2]`` of a network that is right, at ``temperature``, as often as it says; and labels."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(0, 2, n)
    labels = (rng.random(n) < expit(margin)).astype(np.int64)
    shared = rng.normal(0, 3, n)  # moves both logits and so no probability
    return np.stack([shared, shared + temperature * margin], axis=1).astype(np.float32), labels
