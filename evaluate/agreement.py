"""Do two networks err on the same cells? Agreement, Cohen's kappa, and McNemar's test, pair by pair."""

from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from evaluate.predictions import Predictions
from evaluate.report_record import Pair


def compare_pairs(found: dict[str, Predictions]) -> tuple[Pair, ...]:
    """Every pair of columns, in their order; all predict the same cells."""
    pairs = [_pair(a, found[a], b, found[b]) for a, b in combinations(found, 2)]
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True))


def _pair(a: str, one: Predictions, b: str, other: Predictions) -> Pair:
    right, also = one.verdicts == one.labels, other.verdicts == other.labels
    only_a, only_b = int((right & ~also).sum()), int((~right & also).sum())
    p = mcnemar(only_a, only_b)
    return Pair(
        a=a,
        b=b,
        agreement=float((one.verdicts == other.verdicts).mean()),
        kappa=_kappa(one.verdicts, other.verdicts),
        both_correct=int((right & also).sum()),
        only_a=only_a,
        only_b=only_b,
        both_wrong=int((~right & ~also).sum()),
        p=p,
        p_holm=p,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p of McNemar's test (1947, Psychometrika 12:153); 1 where the two never differ in being right."""
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def holm(p: list[float]) -> list[float]:
    """p values corrected for their number, in the given order (Holm 1979, Scand. J. Stat. 6:65)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.arange(len(p), 0, -1) * np.array(p)[order])
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def _kappa(one: NDArray[np.int64], other: NDArray[np.int64]) -> float | None:
    """Undefined where both call everything the same."""
    if len(np.unique(np.concatenate([one, other]))) == 1:
        return None
    return float(cohen_kappa_score(one, other))
