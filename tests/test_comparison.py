"""What a comparison with torch is made of: its batches, its ties, and what the card states of it."""

import numpy as np

from export.verify import Comparison, _decisions_differ, batches


def test_labels_that_score_within_two_thousandths_of_one_another_are_a_tie() -> None:
    logits = np.array([[0, 1.9e-3], [0, 2.1e-3], [2.1e-3, 0]])
    swapped = logits[:, ::-1].astype(np.float32)
    assert [_decisions_differ(swapped[i : i + 1], logits[i : i + 1]) for i in range(3)] == [False, True, True]


def test_images_are_compared_one_two_and_seventeen_at_a_time() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(24, 1, 1, 1)
    found = batches(images)
    assert [len(part) for part in found] == [1, 2, 17, 1, 2, 1]
    np.testing.assert_array_equal(np.concatenate(found), images)
    assert batches(images[:0]) == []


def test_the_card_states_images_errors_and_ties() -> None:
    assert Comparison(35, 2e-4, 3e-5, 1).stated() == {
        "float64_images": 35,
        "float64_logit_error": 2e-4,
        "float64_probability_error": 3e-5,
        "float64_ties": 1,
    }
