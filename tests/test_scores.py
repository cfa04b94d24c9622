"""What validation measures, against counts by hand."""

import math

import pytest
import torch

from train.scores import score


def test_scores_of_six_cells_are_those_counted_by_hand() -> None:
    # Margins of label 1: three normal cells, then three blasts; one of each is on the wrong side.
    margins = torch.tensor([-2.0, -1.0, 0.5, -0.5, 1.0, 3.0])
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    found = score(torch.stack([torch.zeros(6), margins], 1), labels)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.auroc == pytest.approx(8 / 9)  # of nine pairs only (0.5, -0.5) is in the wrong order
    assert found.f1 == pytest.approx(4 / 6)  # precision and recall are 2/3 in both classes
    right = torch.where(labels == 1, margins, -margins).double()
    assert found.loss == pytest.approx(torch.nn.functional.softplus(-right).mean().item())


def test_f1_weighs_classes_by_their_samples() -> None:
    labels = torch.tensor([0, 1, 1, 1])
    found = score(torch.tensor([[0.0, 1.0]] * 4), labels)
    assert found.f1 == pytest.approx(0.25 * 0 + 0.75 * 6 / 7)


def test_one_class_has_no_auroc_and_no_finite_loss_has_no_scores() -> None:
    assert math.isnan(score(torch.zeros(3, 2), torch.ones(3, dtype=torch.int64)).auroc)
    broken = score(torch.full((2, 2), float("nan")), torch.tensor([0, 1]))
    assert all(map(math.isnan, (broken.loss, broken.accuracy, broken.auroc, broken.f1)))


def test_auroc_goes_by_the_difference_of_both_logits() -> None:
    margins, labels = torch.tensor([-2.0, -1.0, 0.5, 1.0]), torch.tensor([0, 0, 1, 1])
    common = torch.tensor([9.0, 3.0, 0.0, -9.0])  # what both logits have in common says nothing
    assert score(torch.stack([common, common + margins], 1), labels).auroc == 1


def test_equal_logits_count_as_normal_as_in_the_published_histories() -> None:
    logits = torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.5, 0.75], [0.75, 0.5]])
    assert score(logits, torch.tensor([0, 0, 1, 0])).accuracy == 1
