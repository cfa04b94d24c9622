"""Figures, page and tables show the numbers that their axes and heads say."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_predictions import drawn_predictions
from finished_report import network, record

from evaluate.charts import draw_accuracy, draw_intervals
from evaluate.curves import draw_decision, draw_precision_recall, draw_roc, draw_thresholds
from evaluate.figures import draw_agreement, draw_confusion
from evaluate.metrics import net_benefit
from evaluate.paper_tables import part_tables
from evaluate.predictions import Predictions
from evaluate.report_page import _best, _people, _widening
from evaluate.report_record import Estimate, ReportRecord
from evaluate.scoring import Speaker, score_network


@pytest.fixture(scope="module")
def found() -> dict[str, Predictions]:
    return {"resnet18": drawn_predictions()}


@pytest.fixture(scope="module")
def made(found: dict[str, Predictions]) -> ReportRecord:
    """The report of ``found``."""
    said = found["resnet18"]
    column = score_network(Speaker("resnet18", 0.4, "balanced", 2.0), said, {})
    labels = said.cells.labels
    data = replace(record().dataset, n=len(labels), class_counts=(labels.count(0), labels.count(1)))
    return replace(record(), networks={"resnet18": column}, dataset=data)


def test_the_squares_of_a_confusion_matrix_say_count_and_share_of_the_true_class() -> None:
    (axes,) = draw_confusion("resnet18", network("resnet18", 0.9), record()).axes
    said = {text.get_position(): text.get_text() for text in axes.texts}  # matrix ((1, 2), (3, 4)); x is what is called
    assert said == {(0, 0): "1\n33.3 %", (1, 0): "2\n66.7 %", (0, 1): "3\n42.9 %", (1, 1): "4\n57.1 %"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("called", "true class")


def test_accuracy_is_dotted_in_training_and_solid_in_testing() -> None:
    (axes,) = draw_accuracy(record().history).axes
    lines = {line.get_linestyle(): list(line.get_ydata()) for line in axes.lines[:2]}
    assert lines[":"] == pytest.approx([61, 75])
    assert lines["-"] == pytest.approx([67.89, 65.43])


def test_the_operating_point_lies_on_its_curves(found: dict[str, Predictions], made: ReportRecord) -> None:
    (tn, fp), (fn, tp) = made.networks["resnet18"].confusion
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    (axes,) = draw_roc(found, made).axes
    assert axes.lines[-1].get_xydata().tolist() == [[pytest.approx(1 - specificity), pytest.approx(sensitivity)]]
    (axes,) = draw_precision_recall(found, made).axes
    curve, mark = axes.lines[-2:]
    assert mark.get_xydata().tolist() == [[pytest.approx(sensitivity), pytest.approx(tp / (tp + fp))]]
    assert any(np.allclose(point, mark.get_xydata()[0]) for point in curve.get_xydata())


def test_sensitivity_is_solid_and_falls_with_the_threshold(found: dict[str, Predictions], made: ReportRecord) -> None:
    (axes,) = draw_thresholds(found, made).axes
    solid = next(line for line in axes.lines if line.get_linestyle() == "-")
    assert solid.get_ydata()[0] == 100 > solid.get_ydata()[-1]


def test_calling_every_cell_a_blast_has_its_own_net_benefit(found: dict[str, Predictions]) -> None:
    (axes,) = draw_decision(found, ("normal", "blast")).axes
    (everyone,) = [line for line in axes.lines if line.get_label() == "call every cell a blast"]
    ones, thresholds = np.ones(60, np.float32), np.arange(1, 100) / 100
    np.testing.assert_array_equal(everyone.get_ydata(), net_benefit(found["resnet18"].labels, ones, thresholds))
    assert everyone.get_ydata()[0] > 0


def test_thick_intervals_are_of_people_and_thin_ones_of_images() -> None:
    thick, thin = draw_intervals(record()).axes[0].lines[:2]
    assert (thick.get_linewidth(), list(thick.get_xdata())) == (3.5, [0.5, 0.75])
    assert (thin.get_linewidth(), list(thin.get_xdata())) == (1, [0.6, 0.7])


def test_agreement_is_written_on_both_sides_of_the_diagonal() -> None:
    (axes,) = draw_agreement(["resnet18", "resnet50"], record().pairs).axes
    assert [text.get_text() for text in axes.texts] == ["–", "–", "90.0 %\nκ 0.80", "90.0 %\nκ 0.80"]


def test_the_page_names_the_best_column_the_width_of_its_interval_and_the_worst_people(made: ReportRecord) -> None:
    assert _best(record())[0] == "ensemble"
    assert _widening(record()) == pytest.approx(2.5)
    means = [person["mean"] for person in _people(made)]
    assert means == sorted(means)
    assert len(set(means)) > 1


def test_scores_of_the_table_stand_below_their_heads() -> None:
    names = ("balanced_accuracy", "sensitivity", "specificity", "f1", "auroc")
    one = record().networks["resnet18"]
    scores = replace(one.scores, **{name: Estimate(0.1 * (k + 1), None, None) for k, name in enumerate(names)})
    table = part_tables(record(networks={"resnet18": replace(one, scores=scores)}))["results-accuracy"][1]
    assert table["head"][3:] == ["balanced", "sens.", "spec.", "F1", "AUROC"]
    assert table["rows"][0][3:] == ["0.100", "0.200", "0.300", "0.400", "0.500"]
