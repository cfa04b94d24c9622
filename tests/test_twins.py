"""Candidates for twins: pairs of descriptors that correlate, turned or mirrored."""

import numpy as np
import pytest

from build_shards.twins import candidates, describe


def test_a_mirrored_cell_is_no_twin_and_is_found_among_mirrored_pairs() -> None:
    first = np.zeros((96, 96), np.uint8)
    first[10:86, 10:86] = np.random.default_rng(0).integers(1, 255, (19, 19)).repeat(4, 0).repeat(4, 1)
    pair = np.stack([describe(first), describe(np.ascontiguousarray(first[:, ::-1]))])
    assert candidates(pair, mirrored=False) == []
    assert candidates(pair, mirrored=True) == [(0, 1, 0)]


def test_candidates_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(23, 32, 32)).astype(np.float32)
    again = np.stack([np.rot90(cell, k % 4) for k, cell in enumerate(cells)])
    both = np.concatenate([cells, again])[rng.permutation(46)]
    both /= np.linalg.norm(both, axis=(1, 2), keepdims=True)
    whole = candidates(both, mirrored=False)
    assert len(whole) == 23
    assert len({k for *_, k in whole}) == 4
    monkeypatch.setattr("build_shards.twins.BLOCK", 7)
    assert candidates(both, mirrored=False) == whole
