"""Balanced sampling: equal shares, nobody twice before all came once, the same order again."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.sampling import balanced_order, sampled_order


def test_plain_order_is_a_permutation(reader: SplitReader, manifest: Manifest) -> None:
    order = sampled_order(reader, manifest, "plain", 0, 1)
    assert sorted(order) == list(range(len(reader)))


@pytest.mark.parametrize("how", ["class", "subject"])
def test_each_group_has_an_equal_share_of_an_epoch(how: str, reader: SplitReader, manifest: Manifest) -> None:
    groups: Any = reader.labels.tolist() if how == "class" else reader.subjects
    order = sampled_order(reader, manifest, how, 0, 1)
    assert len(order) == len(reader)
    counts = Counter(groups[i] for i in order)
    assert counts.keys() == set(groups)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert max(Counter(groups).values()) - min(Counter(groups).values()) > 1  # unbalanced by itself


def test_two_ids_of_one_person_share_that_persons_part(reader: SplitReader, manifest: Manifest) -> None:
    first, second = sorted(set(reader.subjects))[:2]
    joined = replace(manifest, identities={first: f"{first}+{second}", second: f"{first}+{second}"})
    order = sampled_order(reader, joined, "subject", 0, 1)
    counts = Counter(joined.identity(reader.subjects[i]) for i in order)
    assert len(counts) == len(set(reader.subjects)) - 1
    assert max(counts.values()) - min(counts.values()) <= 1


def test_none_comes_again_before_all_of_its_group_came() -> None:
    groups = ["a"] * 30 + ["b"] * 4 + ["c"] * 2
    order = balanced_order(groups, np.random.default_rng(0))
    times = Counter(order.tolist())
    assert sorted(times[i] for i in range(30)) == [0] * 18 + [1] * 12
    assert sorted(times[i] for i in range(30, 34)) == [3] * 4
    assert sorted(times[i] for i in range(34, 36)) == [6] * 2


def test_remainder_goes_to_groups_by_chance() -> None:
    groups = [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [4]
    favoured = {
        next(group for group, n in Counter(groups[i] for i in balanced_order(groups, rng)).items() if n == 5)
        for rng in map(np.random.default_rng, range(60))
    }
    assert favoured == {0, 1, 2, 3, 4}


def test_order_is_shuffled_and_follows_seed_and_epoch(reader: SplitReader, manifest: Manifest) -> None:
    orders = [tuple(sampled_order(reader, manifest, "class", *place)) for place in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 3
    labels = reader.labels[list(orders[0])]
    assert np.count_nonzero(labels[1:] != labels[:-1]) > 5


def test_sampling_by_subject_needs_subjects(reader: SplitReader, manifest: Manifest) -> None:
    reader.__dict__["subjects"] = (None, *reader.subjects[1:])
    with pytest.raises(UserError, match=f"--sampling subject: sample '{reader.samples[0].key}' has no subject"):
        sampled_order(reader, manifest, "subject", 0, 1)
