"""The page: what comes from data is escaped, what is undefined says so, and pictures take the page's colours."""

from dataclasses import replace

import matplotlib
from finished_report import network, record
from matplotlib.figure import Figure

from evaluate.rendering import INK, PAPER, STYLE, Picture, render
from evaluate.report_page import _best, _people, interval, number, p_value, percent, render_page
from evaluate.report_record import Estimate, ReportRecord, SubjectRow

PICTURES = ("intervals", "confusion_resnet18", "reliability", "thresholds", "decision")


def _record(**changes: str) -> ReportRecord:
    """A finished record whose data set, subject and notes may be named as a test likes."""
    whole = record()
    one = network("resnet18", None)
    assert one.file is not None
    card = one.file.card | {"dataset": "cells", "manifest_digest": "c" * 64}
    file = replace(one.file, card=card)
    dataset = replace(whole.dataset, **changes)
    return replace(whole, dataset=dataset, networks={"resnet18": replace(one, file=file)}, pairs=(), history={})


def _page(whole: ReportRecord) -> str:
    return render_page(whole, dict.fromkeys(PICTURES, "<svg></svg>"), {})


def test_names_are_escaped_wherever_they_come_from() -> None:
    whole = _record(name="<script>alert(1)</script> & cells")
    html = _page(replace(whole, notes=('<img src=x onerror="alert(1)">',)))
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; cells" in html


def test_an_undefined_score_says_so() -> None:
    html = _page(_record())
    assert html.count('<span class="undefined">undefined</span>') == 1  # accuracy; the others have values


def test_an_interval_without_width_is_not_passed_off_as_certainty() -> None:
    warning = "a limit of the bootstrap, no certainty"
    whole = _record()
    one = whole.networks["resnet18"]
    assert warning not in _page(whole)
    certain = replace(one.scores, sensitivity=Estimate(1.0, (1.0, 1.0), (1.0, 1.0)))
    assert warning in _page(replace(whole, networks={"resnet18": replace(one, scores=certain)}))
    of_images = replace(one.scores, sensitivity=Estimate(1.0, None, (1.0, 1.0)))
    assert warning in _page(replace(whole, networks={"resnet18": replace(one, scores=of_images)}))


def test_an_id_with_cells_of_both_classes_is_no_wrong_vote() -> None:
    whole = _record()
    row = SubjectRow("7", None, 3, 1, 2, 2, 2 / 3, (0.2, 0.9), 0.5, 1, None)
    said = {}
    for truth in (None, 0):
        one = replace(whole.networks["resnet18"], subjects=(replace(row, truth=truth),))
        names = dict.fromkeys((*PICTURES, "subjects"), "<svg></svg>")
        said[truth] = render_page(replace(whole, networks={"resnet18": one}), names, {})
    assert "2 &middot; 67 %</td>" in said[None]
    assert "2 &middot; 67 % <em>(blast)</em></td>" in said[0]


def test_of_equals_the_first_is_the_best_and_people_are_sorted_by_all_columns() -> None:
    whole = record(networks={name: network(name, 0.7) for name in ("resnet18", "resnet50")})
    assert _best(whole)[0] == "resnet18"
    columns = {}
    for name, shares in {"resnet18": {"a": 0.5, "b": 0.6}, "resnet50": {"a": 1.0, "b": 0.6}}.items():
        rows = (SubjectRow(s, None, 10, 0, 0, 0, share, (0, 1), 0.5, 0, 0) for s, share in shares.items())
        columns[name] = replace(network(name, 0.7), subjects=tuple(rows))
    worst, other = _people(record(networks=columns))
    assert (worst["row"].subject, worst["mean"], other["mean"]) == ("b", 0.6, 0.75)


def test_numbers_are_written_as_people_read_them() -> None:
    assert (percent(0.9205), percent(None), number(0.96449), number(None)) == (
        "92.0 %",
        "undefined",
        "0.964",
        "undefined",
    )
    assert interval((0.9012, 0.9361)) == "90.1 to 93.6"
    assert interval((0.5, 0.25), share=False) == "0.500 to 0.250"
    assert interval(None) == "undefined"
    assert (p_value(0.0004), p_value(0.001), p_value(0.0421)) == ("< 0.001", "0.001", "0.042")


def _picture() -> Picture:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2, 2), dpi=150, layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [1, 0], color=INK)
        axes.set_title("$x$ < 5 & more")
    return render(figure, "one", 'a "line"')


def test_a_picture_has_its_own_ids_the_page_s_colours_and_no_formulae() -> None:
    picture, again = _picture(), _picture()
    assert (picture.png, picture.svg, picture.inline) == (again.png, again.svg, again.inline)
    assert "$x$ &lt; 5 &amp; more" in picture.inline
    assert 'aria-label="a &quot;line&quot;"' in picture.inline
    assert INK not in picture.inline
    assert PAPER not in picture.inline
    assert "var(--ink)" in picture.inline
    assert 'id="figure' not in picture.inline
    assert 'id="one-figure' in picture.inline
    assert picture.inline.count("url(#") == picture.inline.count("url(#one-") > 0
    assert "<style" not in picture.inline
    assert INK in picture.svg.decode()
