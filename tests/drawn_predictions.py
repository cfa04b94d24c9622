"""Predictions of cells of known people, for tests of what a report makes of them."""

import numpy as np

from evaluate.predictions import Cells, Predictions, decide


def drawn_predictions(n: int = 60) -> Predictions:
    """Of ``n`` cells, three a subject id and twelve a person; decided at 0.4."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    p = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1).astype(np.float32)
    names = tuple(map(str, range(n)))
    subjects, people = (tuple(f"{word}{i // k}" for i in range(n)) for word, k in (("s", 3), ("p", 12)))
    cells = Cells(names, names, subjects, people, tuple(labels.tolist()))
    return Predictions(cells, None, (p**2).astype(np.float32), p, decide(p, 0.4))
