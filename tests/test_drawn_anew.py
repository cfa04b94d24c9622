"""Ids are called people only where it is known who is one person: in the page, the tables, the figure, the terminal."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished_report import record
from test_report_page import PICTURES

from contract.record import to_json
from evaluate.charts import draw_intervals
from evaluate.mistakes import draw_mistakes
from evaluate.paper_tables import part_tables
from evaluate.predictions import Cells, Predictions
from evaluate.report_page import render_page
from evaluate.report_record import Bootstrap, ReportRecord
from evaluate.subjects import majority_vote, subject_rows
from evaluate.summary import Summary, print_summary

IDENTITIES = {"identity": ("A+B", "A+B", "C"), "subject": (None, None, None)}
DRAWN = {"identity": "people", "subject": "subject ids"}


def _found(cluster: str) -> Predictions:
    p = np.array([0.9, 0.2, 0.8], np.float32)
    cells = Cells(("1", "2", "3"), ("1", "2", "3"), ("A", "B", "C"), IDENTITIES[cluster], (1, 1, 0))
    return Predictions(cells, None, p, p, (p >= 0.5).astype(np.int64))


def _record(cluster: str) -> ReportRecord:
    """A finished report with three subject ids and a table of them."""
    whole, rows = record(), subject_rows(_found(cluster))
    networks = {
        name: replace(network, subjects=rows, vote=majority_vote(rows)) for name, network in whole.networks.items()
    }
    for network in networks.values():
        if network.file is not None:
            network.file.card.update(dataset="cells", manifest_digest="c" * 64)
    bootstrap = Bootstrap(0.95, 100, 0, cluster, 3)  # type: ignore[arg-type]
    return replace(whole, bootstrap=bootstrap, networks=networks, notes=(), pairs=(), history={})


@pytest.mark.parametrize("cluster", ["identity", "subject"])
def test_the_page_says_what_was_drawn_anew(cluster: str) -> None:
    whole = _record(cluster)
    names = (*PICTURES, "subjects", *(f"confusion_{name}" for name in whole.networks))
    html = render_page(whole, dict.fromkeys(names, "<svg></svg>"), {})
    drawn, other = DRAWN[cluster], DRAWN["subject" if cluster == "identity" else "identity"]
    for words in (
        f"3 {drawn} drawn anew",
        f"With {drawn} instead of images",
        f"thick with {drawn}",
        f"by {drawn}</dt>",
    ):
        assert words in html
    for words in (f"3 {other}", f"{other} drawn anew", f"{other} in train too", f"by {other}"):
        assert words not in html
    if cluster == "subject":
        for words in ("people behind", "people right", "each person", "Person by person", "every person"):
            assert words not in html


@pytest.mark.parametrize("cluster", ["identity", "subject"])
def test_tables_figure_and_terminal_say_it_too(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, drawn = _record(cluster), DRAWN[cluster]
    tables = part_tables(whole)
    assert tables["results-accuracy"][1]["caption"].endswith(f"by bootstrap of {drawn}")
    rows = dict(map(tuple, tables["introduction"][0]["rows"]))
    assert rows["people"] == ("2 (1 of them in train too)" if cluster == "identity" else "unknown")
    (legend,) = [axes.get_legend() for axes in draw_intervals(whole).axes if axes.get_legend()]
    assert legend.get_texts()[0].get_text() == f"95 %, {drawn} drawn anew"
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "metrics.json").write_text(to_json(whole))
    print_summary(Summary(tmp_path))
    assert f"95 % ({drawn})" in capsys.readouterr().out


@pytest.mark.parametrize(("cluster", "each"), [("identity", "person"), ("subject", "subject id")])
def test_a_contact_sheet_says_whose_mistakes_it_shows(cluster: str, each: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluate.mistakes._row", lambda *_: np.zeros((122, 600, 3), np.uint8))
    figure = draw_mistakes("resnet18", _found(cluster), "valid", ("normal", "blast"), lambda _: b"")
    assert figure is not None
    assert f"mistakes of each {each}, by" in figure.axes[0].get_title(loc="left")
