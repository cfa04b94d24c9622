"""Figures, page and tables show the numbers that their axes and heads say."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_predictions import drawn_predictions
from finished_report import network, record

from evaluate import charts, pictures
from evaluate.charts import draw_accuracy, draw_intervals, draw_subjects, titles_of
from evaluate.curves import draw_decision, draw_precision_recall, draw_reliability, draw_roc, draw_thresholds
from evaluate.figures import draw_agreement, draw_confusion
from evaluate.metrics import NAMES, net_benefit
from evaluate.paper_tables import part_tables
from evaluate.pictures import draw_pictures
from evaluate.predictions import Predictions
from evaluate.rendering import BLUE, INK, ORANGE
from evaluate.report_page import _best, _people, _widening
from evaluate.report_record import Bin, Estimate, Reliability, ReportRecord, Scores, SubjectRow
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
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["normal (0)", "blast (1)"]
    assert axes.get_title() == "resnet18 on valid, n = 10\nthreshold 0.500\n(balanced)"
    np.testing.assert_allclose(axes.images[0].get_array(), [[1 / 3, 2 / 3], [3 / 7, 4 / 7]])
    (axes,) = draw_confusion("resnet18", replace(network("resnet18", 1.0), confusion=((0, 0), (0, 4))), record()).axes
    assert [text.get_text() for text in axes.texts] == ["0\nundefined"] * 2 + ["0\n0.0 %", "4\n100.0 %"]


def test_accuracy_is_dotted_in_training_and_solid_in_testing() -> None:
    (axes,) = draw_accuracy(record().history).axes
    lines = {line.get_linestyle(): list(line.get_ydata()) for line in axes.lines[:2]}
    assert lines[":"] == pytest.approx([61, 75])
    assert lines["-"] == pytest.approx([67.89, 65.43])
    assert [list(line.get_xdata()) for line in axes.lines[:2]] == [[1, 2], [1, 2]]  # the epochs
    assert axes.lines[1].get_label() == "resnet18 (testing phase: highest 67.9 %)"


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_ticks_of_few_epochs_are_epochs(epochs: int) -> None:
    rows = record().history["resnet18"]
    few = tuple(replace(rows[0], epoch=epoch) for epoch in range(1, epochs + 1))
    (axes,) = draw_accuracy({"resnet18": few}).axes
    ticks = set(axes.get_xticks())
    assert set(range(1, epochs + 1)) <= ticks <= set(range(-1, epochs + 3))


def test_the_operating_point_lies_on_its_curves(found: dict[str, Predictions], made: ReportRecord) -> None:
    (tn, fp), (fn, tp) = made.networks["resnet18"].confusion
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    (axes,) = draw_roc(found, made).axes
    assert axes.lines[-1].get_xydata().tolist() == [[pytest.approx(1 - specificity), pytest.approx(sensitivity)]]
    (axes,) = draw_precision_recall(found, made).axes
    curve, mark = axes.lines[-2:]
    assert mark.get_xydata().tolist() == [[pytest.approx(sensitivity), pytest.approx(tp / (tp + fp))]]
    assert any(np.allclose(point, mark.get_xydata()[0]) for point in curve.get_xydata())


def test_false_alarms_go_right_and_sensitivity_up(found: dict[str, Predictions], made: ReportRecord) -> None:
    said = replace(found["resnet18"], uncalibrated=found["resnet18"].probability[::-1])  # and of another order
    (axes,) = draw_roc({"resnet18": said}, made).axes
    for x, y in axes.lines[1].get_xydata():
        called = [said.probability >= threshold for threshold in (*said.probability, 2)]
        assert any(np.allclose((x, y), [c[said.labels == label].mean() for label in (0, 1)]) for c in called)
    assert axes.lines[1].get_xydata()[[0, -1]].tolist() == [[0, 0], [1, 1]]


def test_sensitivity_is_solid_and_falls_with_the_threshold(found: dict[str, Predictions], made: ReportRecord) -> None:
    (axes,) = draw_thresholds(found, made).axes
    solid = next(line for line in axes.lines if line.get_linestyle() == "-")
    assert solid.get_ydata()[0] == 100 > solid.get_ydata()[-1]
    meaning = {str(line.get_label()).split(":")[0]: line.get_linestyle() for line in axes.lines}
    assert (meaning["solid"], meaning["dotted"]) == ("-", ":")
    half = replace(found["resnet18"], probability=np.full(60, 0.5, np.float32))
    (axes,) = draw_thresholds({"resnet18": half}, made).axes
    assert axes.lines[0].get_ydata()[50:52].tolist() == [100, 0]  # who reaches the threshold is called a blast


def test_calling_every_cell_a_blast_has_its_own_net_benefit(found: dict[str, Predictions]) -> None:
    (axes,) = draw_decision(found, ("normal", "blast")).axes
    (everyone,) = [line for line in axes.lines if line.get_label() == "call every cell a blast"]
    ones, thresholds = np.ones(60, np.float32), np.arange(1, 100) / 100
    np.testing.assert_array_equal(everyone.get_ydata(), net_benefit(found["resnet18"].labels, ones, thresholds))
    assert everyone.get_ydata()[0] > 0
    (nobody,) = [line for line in axes.lines if line.get_label() == "call no cell a blast"]
    assert set(nobody.get_ydata()) == {0}


def test_thick_intervals_are_of_people_and_thin_ones_of_images() -> None:
    thick, thin = draw_intervals(record()).axes[0].lines[:2]
    assert (thick.get_linewidth(), list(thick.get_xdata())) == (3.5, [0.5, 0.75])
    assert (thin.get_linewidth(), list(thin.get_xdata())) == (1, [0.6, 0.7])


def test_agreement_is_written_on_both_sides_of_the_diagonal() -> None:
    (axes,) = draw_agreement(["resnet18", "resnet50"], record().pairs).axes
    assert [text.get_text() for text in axes.texts] == ["–", "–", "90.0 %\nκ 0.80", "90.0 %\nκ 0.80"]
    squares = axes.images[0].get_array()
    assert squares[0, 1] == squares[1, 0] > squares[0, 0]


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
    assert table["head"][3:] == ["balanced", "sens.", "spec.", "F1 of blasts", "AUROC"]
    assert table["rows"][0][3:] == ["0.100", "0.200", "0.300", "0.400", "0.500"]


def test_marks_stand_at_the_threshold_on_their_lines(found: dict[str, Predictions], made: ReportRecord) -> None:
    (tn, fp), (fn, tp) = made.networks["resnet18"].confusion
    (axes,) = draw_thresholds(found, made).axes
    marks = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert np.allclose(marks, [[0.4, 100 * tp / (tp + fn)], [0.4, 100 * tn / (tn + fp)]], atol=1e-3)


def test_dotted_lines_are_the_share_of_blasts_and_curves_have_their_own_area(
    found: dict[str, Predictions], made: ReportRecord
) -> None:
    scores = made.networks["resnet18"].scores
    (axes,) = draw_precision_recall(found, made).axes
    assert axes.lines[0].get_ydata()[0] == made.dataset.class_counts[1] / 60 != 0.5
    assert axes.lines[1].get_label() == f"resnet18, AUPRC {scores.auprc.value:.3f}"
    (axes,) = draw_roc(found, made).axes
    assert axes.lines[1].get_label() == f"resnet18, AUROC {scores.auroc.value:.3f}"
    (axes,) = draw_decision(found, ("normal", "blast")).axes
    (curve,) = [line for line in axes.lines if line.get_label() == "resnet18"]
    said, thresholds = found["resnet18"], np.arange(1, 100) / 100
    np.testing.assert_array_equal(curve.get_ydata(), net_benefit(said.labels, said.probability, thresholds))


def test_calibration_is_drawn_before_in_squares_and_after_in_circles_above_its_cells() -> None:
    before, after = (Bin(3, 0.15, 0.4), Bin(4, 0.85, 0.6)), (Bin(2, 0.25, 0.1), Bin(5, 0.75, 0.9))
    column = replace(network("resnet18", 0.9), before=Reliability(0, 0.3, before), after=Reliability(0, 0.1, after))
    upper, lower = draw_reliability({"resnet18": replace(column, temperature=1.5)}, ("normal", "blast")).axes
    squares, circles = upper.lines[1:]
    assert (squares.get_marker(), squares.get_label()) == ("s", "before: ECE 0.300")
    assert (circles.get_marker(), circles.get_label()) == ("o", "after: ECE 0.100")
    assert squares.get_xydata().tolist() == [[0.15, 0.4], [0.85, 0.6]]
    assert circles.get_xydata().tolist() == [[0.25, 0.1], [0.75, 0.9]]
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in lower.patches]
    assert np.allclose(bars, [[0.25, 2], [0.75, 5]])
    assert upper.get_title() == "resnet18, T = 1.50"


def test_each_panel_of_the_intervals_has_its_own_score_the_first_column_on_top() -> None:
    scores = Scores(**{name: Estimate(0.05 * (k + 1), None, None) for k, name in enumerate(NAMES)})
    columns = {name: replace(network(name, 0.9), scores=scores) for name in ("resnet18", "resnet50")}
    figure = draw_intervals(record(networks=columns))
    for k, (name, panel) in enumerate(zip(NAMES, figure.axes, strict=False)):
        assert panel.get_title(loc="left") == titles_of(("normal", "blast"))[name]
        assert [line.get_xdata()[0] for line in panel.lines] == [0.05 * (k + 1)] * 2
        low, high = panel.get_ylim()
        assert low > high  # rows count from the top
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(columns)
    alone = draw_intervals(record(bootstrap=replace(record().bootstrap, clusters=1)))
    legends = [[text.get_text() for text in f.axes[-1].get_legend().get_texts()] for f in (figure, alone)]
    assert legends == [["95 %, people drawn anew", "95 %, images drawn anew"], ["95 %, images drawn anew"]]


def test_the_worst_subjects_stand_on_top_in_the_colour_of_their_class() -> None:
    def row(subject: str, n: int, correct: int, truth: int | None) -> SubjectRow:
        share = correct / n
        return SubjectRow(subject, None, n, 0, 0, correct, share, (share - 0.1, share + 0.2), 0.5, None, truth)

    rows = (row("both", 2, 1, None), row("ill", 4, 1, 1), row("well", 8, 6, 0))
    column = replace(network("resnet18", 0.9), subjects=rows)
    axes = draw_subjects(record(networks={"resnet18": column})).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ill", "both", "well"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.lines[0].get_xdata()[0] == 90
    drawn = [(*dot.get_offsets()[0], dot.get_sizes()[0], rgb(dot.get_facecolor()[0])) for dot in axes.collections]
    assert drawn == [(25, 0, 16.4, ORANGE), (50, 1, 13.2, INK), (75, 2, 22.8, BLUE)]
    spans = [line.get_xdata().tolist() for line in axes.lines[1:]]
    assert np.allclose(spans, [[15, 45], [40, 70], [65, 95]])
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["normal", "blast"]
    assert [handle.get_color() for handle in legend.legend_handles] == [BLUE, ORANGE]


def test_a_confusion_matrix_is_told_in_words_too(
    found: dict[str, Predictions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "render", lambda _, name, alt: (name, alt))
    made = record(networks={"resnet18": network("resnet18", 0.9)}, pairs=(), history={})
    told: dict[str, str] = dict(draw_pictures(made, found, {}))  # type: ignore[arg-type]
    assert told["confusion_resnet18"] == (
        "Confusion matrix of resnet18: of 3 normal cells 1 called normal, 2 blast; "
        "of 7 blast cells 3 called normal and 4 blast"
    )


def rgb(colour: np.ndarray) -> str:
    """``#rrggbb`` of what matplotlib took it for."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])


def test_of_many_subjects_the_worst_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "MOST_SUBJECTS", 3)
    rows = tuple(SubjectRow(str(i), None, 9, 0, 0, i, i / 9, (0.0, 1.0), 0.5, None, 0) for i in range(5))
    axes = draw_subjects(record(networks={"resnet18": replace(network("resnet18", 0.9), subjects=rows[::-1])})).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1", "2"]
