"""Find twins: pairs of images that show one cell, as identical files or photographed or processed again.

Two stages on the grey patches of ``fingerprint``. Candidates: the texture (patch minus its local mean) at 32 x 32 px,
correlated between all pairs and over the four quarter turns, as matrix products. Verification: the pair is
aligned by shift and small rotation (OpenCV's ECC; Evangelidis & Psarakis 2008, doi:10.1109/TPAMI.2008.113) at 96 px,
and its textures correlated where both eroded masks are. Neither stage sees brightness, contrast or the mask's edge.

How sure that is, is measured with the same two stages on pairs that cannot be twins: one of both mirrored. A
photograph taken again may be turned but is never mirrored, while a mirrored cell looks as much like
other cells as the cell itself does.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from build_shards.fingerprint import PATCH, Fingerprint
from build_shards.pool import map_in_order

SIDE = 32  # px of a descriptor
CANDIDATE = 0.58  # correlation of descriptors from which a pair is verified
TWIN = 0.86  # correlation of aligned textures from which a pair is a twin (archive: no pair between 0.81 and 0.87)
LIMIT = 2.0  # robust standard deviations of a texture
OVERLAP = 0.6  # share of the smaller mask that both must have in common
FARTHEST = 12.0  # patch px (48 source px): larger shifts between two centred cells are misalignments
TURNED = 12.0  # degrees: likewise
FLOOR = 1e-6  # expected chance pairs: a fitted tail is not believed beyond one in a million
MOST = 10  # candidates a cell, on average, that are verified at most: the best of them
BLOCK = 1024  # rows and columns of one matrix product
JOB = 64  # pairs of one job

Patch = NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """Two images, by index, and how much alike they are."""

    first: int
    second: int
    correlation: float  # of aligned textures, rounded to 4 decimals; 1 for identical files
    turns: int  # quarter turns, counter-clockwise, that bring the first onto the second
    identical: bool


@dataclass(frozen=True)
class Chance:
    """How many pairs would be alike by chance: measured on mirrored pairs, continued beyond them as an exponential.

    The tail is fitted to Fisher's z (``arctanh`` of the correlation) of the highest mirrored correlations.
    """

    pairs: int  # all pairs compared
    mirrored_twins: int  # mirrored pairs that pass as twins: the number of false twins to expect
    highest: float  # highest correlation of a mirrored pair (0 where none was a candidate)
    start: float  # Fisher's z where the tail starts
    count: int  # mirrored pairs beyond it
    scale: float  # of the exponential, in Fisher's z

    def expected(self, correlation: float) -> float:
        """Expected number of chance pairs in this dataset with at least this ``correlation``, never below ``FLOOR``."""
        z = float(np.arctanh(min(correlation, 0.99999)))
        return max(self.count * float(np.exp(-max(z - self.start, 0.0) / self.scale)), FLOOR)


def find_twins(prints: Sequence[Fingerprint], workers: int) -> tuple[list[Match], Chance]:
    """All twins among ``prints``, by index order, and the measured chance of false ones."""
    identical = _identical(prints)
    descriptors = np.stack([describe(p.patch) for p in prints]) if prints else np.zeros((0, SIDE, SIDE), np.float32)
    known = {(m.first, m.second) for m in identical}
    upright, mirrored = candidates(descriptors, False), candidates(descriptors, True)
    compared = _verify([c for c in upright if c[:2] not in known], False, prints, workers)
    found = sorted(identical + [m for m in compared if m.correlation >= TWIN], key=lambda m: (m.first, m.second))
    twins = {(m.first, m.second) for m in found}  # two views of one cell: its symmetry is no chance
    chances = _verify([c for c in mirrored if c[:2] not in twins], True, prints, workers)
    return found, _chance([m.correlation for m in chances], len(prints) * (len(prints) - 1) // 2)


def _identical(prints: Sequence[Fingerprint]) -> list[Match]:
    groups: dict[str, list[int]] = {}
    for index, one in enumerate(prints):
        groups.setdefault(one.sha256, []).append(index)
    return [Match(a, b, 1.0, 0, True) for g in groups.values() for i, a in enumerate(g) for b in g[i + 1 :]]


def texture(values: Patch, inside: Patch, coarse: float, fine: float) -> Patch:
    """``values`` minus their mean within ``coarse`` px, smoothed over ``fine`` px; float32, zero outside ``inside``.

    Extremes are limited to ``LIMIT`` robust deviations: one bright vacuole would make strangers look alike.
    """
    cover = np.maximum(cv2.GaussianBlur(inside, (0, 0), coarse), 1e-3)
    detail = (values - cv2.GaussianBlur(values * inside, (0, 0), coarse) / cover) * inside
    within = np.abs(detail[inside > 0])
    limit = LIMIT * 1.4826 * float(np.median(within)) if within.size else 0.0
    detail = np.clip(detail, -limit, limit)
    return np.asarray(cv2.GaussianBlur(detail, (0, 0), fine) * inside if fine else detail, np.float32)


def describe(patch: NDArray[np.uint8]) -> Patch:
    """A patch's texture at ``[SIDE, SIDE]``: float32, zero mean inside the mask, zero outside, of norm 1 (or all 0)."""
    cover = cv2.resize((patch > 0).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    sums = cv2.resize(patch.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    inside = (cover > 0.5).astype(np.float32)
    values = np.asarray(sums / np.maximum(cover, 0.5) * inside, np.float32)
    detail = texture(values, inside, 3.0, 0.0)
    detail -= inside * (detail.sum() / max(float(inside.sum()), 1.0))
    norm = float(np.linalg.norm(detail))
    return np.asarray(detail / norm if norm > 1.0 else detail * 0, np.float32)


def candidates(descriptors: NDArray[np.float32], mirrored: bool) -> list[tuple[int, int, int]]:
    """(first, second, turns) of pairs whose descriptors correlate, the first ``mirrored`` or not, by index order."""
    count = len(descriptors)
    flat, rows = descriptors.reshape(count, -1), np.arange(count)
    found: list[tuple[float, int, int, int]] = []
    for start in range(0, count, BLOCK):
        block = descriptors[start : start + BLOCK]
        block = block[:, :, ::-1] if mirrored else block
        turned = [np.rot90(block, k, (1, 2)).reshape(len(block), -1) for k in range(4)]
        for other in range(start, count, BLOCK):  # never the whole row: it would grow with the dataset
            products = [t @ flat[other : other + BLOCK].T for t in turned]
            best = functools.reduce(np.maximum, products)
            later = rows[other : other + BLOCK] > rows[start : start + BLOCK, None]
            first, second = np.nonzero((best >= CANDIDATE) & later)
            turns = np.argmax([p[first, second] for p in products], axis=0) if len(first) else first
            found += zip(best[first, second], first + start, second + other, turns, strict=True)
    found = sorted(found, key=lambda c: -c[0])[: MOST * count]
    return sorted((int(a), int(b), int(k)) for _, a, b, k in found)


def _verify(
    pairs: list[tuple[int, int, int]], mirrored: bool, prints: Sequence[Fingerprint], workers: int
) -> list[Match]:
    jobs = [
        [(prints[a].patch, prints[b].patch, turns, mirrored) for a, b, turns in pairs[i : i + JOB]]
        for i in range(0, len(pairs), JOB)
    ]
    values = [v for job in map_in_order(_compare_all, jobs, workers) for v in job]
    return [Match(a, b, round(v, 4), turns, False) for (a, b, turns), v in zip(pairs, values, strict=True)]


def _compare_all(job: list[tuple[NDArray[np.uint8], NDArray[np.uint8], int, bool]]) -> list[float]:
    """Runs in a worker process."""
    cv2.setNumThreads(1)
    return [compare(*pair) for pair in job]


def compare(first: NDArray[np.uint8], second: NDArray[np.uint8], turns: int, mirrored: bool) -> float:
    """Correlation of two patches' textures after alignment, -1 where they do not align within the limits."""
    turned = np.ascontiguousarray(np.rot90(first[:, ::-1] if mirrored else first, turns))
    (moving, inside), (fixed, where) = _detail(turned), _detail(second)
    (x, y), _ = cv2.phaseCorrelate(moving, fixed)
    starts = [np.array([[1, 0, dx], [0, 1, dy]], np.float32) for dx, dy in ((0, 0), (-x, -y))]
    warp = max(starts, key=lambda w: _correlation(moving, inside, fixed, where, w))
    try:
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
        _, aligned = cv2.findTransformECC(
            fixed, moving, warp.copy(), cv2.MOTION_EUCLIDEAN, stop, np.ones_like(second), 3
        )
    except cv2.error:  # it does not converge on strangers
        aligned = warp
    return max(_correlation(moving, inside, fixed, where, w) for w in (warp, aligned))


def _detail(patch: NDArray[np.uint8]) -> tuple[Patch, Patch]:
    inside = (patch > 0).astype(np.float32)
    return texture(patch.astype(np.float32), inside, 4.5, 0.75), inside


def _correlation(moving: Patch, inside: Patch, fixed: Patch, where: Patch, warp: NDArray) -> float:
    """Pearson correlation where both masks are; -1 for a ``warp`` (float32 ``[2, 3]``) beyond the limits."""
    middle = warp[:, :2] @ np.full(2, PATCH / 2) + warp[:, 2] - PATCH / 2
    if np.hypot(*middle) > FARTHEST or abs(np.degrees(np.arctan2(warp[1, 0], warp[0, 0]))) > TURNED:
        return -1.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    both = (cv2.warpAffine(inside, warp, (PATCH, PATCH), flags=flags) > 0.99) & (where > 0)
    if np.count_nonzero(both) < max(OVERLAP * min(inside.sum(), where.sum()), 20):
        return -1.0
    aligned = cv2.warpAffine(moving, warp, (PATCH, PATCH), flags=flags)
    a, b = aligned[both].astype(np.float64), fixed[both].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-6))


def _chance(correlations: list[float], pairs: int) -> Chance:
    z = np.sort(np.arctanh(np.clip(correlations, 0, 0.99999)))[::-1]
    tail = z[: min(50, len(z))]
    false = sum(c >= TWIN for c in correlations)
    highest = max(correlations, default=0.0)
    if len(tail) < 10:  # too few to fit: what the archive's cells show
        return Chance(pairs, false, max(highest, 0.0), float(np.arctanh(CANDIDATE)), max(len(tail), 1), 0.11)
    return Chance(pairs, false, highest, float(tail[-1]), len(tail), max(float((tail - tail[-1]).mean()), 0.08))
