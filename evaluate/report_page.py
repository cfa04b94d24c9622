"""``index.html``: the whole report on one self-contained page, from the record, the predictions and the pictures."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluate.charts import TITLES, titles_of
from evaluate.report_record import Estimate, Interval, Network, ReportRecord
from evaluate.shard_folders import pixels_of

PAGE = "index.html"
TEMPLATES = Path(__file__).resolve().parent / "templates"
AS_SHARE = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "f1_weighted")
WORST = 5  # subject ids that the page names


def render_page(record: ReportRecord, inline: dict[str, str], gallery: dict[str, bytes]) -> str:
    """The page's HTML; ``inline`` holds SVGs by picture name, ``gallery`` the PNGs of single errors by file name.

    Whatever comes from the record is escaped; the SVGs are our own.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": percent,
        "number": number,
        "rate": rate,
        "interval": interval,
        "p_value": p_value,
        "pixels": pixels_of,
    }
    titles = titles_of(record.dataset.classes)
    return environment.get_template("page.html.j2").render(
        record=record,
        data=record.dataset,
        titles=titles,
        rows=[(name, title, name in AS_SHARE) for name, title in titles.items()],
        pictures={name: Markup(svg) for name, svg in inline.items()},
        gallery={name: "data:image/png;base64," + base64.b64encode(png).decode() for name, png in gallery.items()},
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        best=_best(record),
        widening=_widening(record),
        without_width=_without_width(record),
        people=_people(record),
        named=record.bootstrap.cluster == "identity",
        drawn=record.bootstrap.drawn,
        worst=WORST,
    )


def percent(value: float | None, digits: int = 1) -> str:
    """A share as "92.0 %"."""
    return "undefined" if value is None else f"{100 * value:.{digits}f} %"


def rate(value: float | None) -> str:
    """A share as "92.0", for tables whose caption says percent."""
    return "undefined" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """A score with three digits."""
    return "undefined" if value is None else f"{value:.3f}"


def interval(bounds: Interval | None, share: bool = True) -> str:
    """Two bounds as "90.1 to 93.6", in percent, or with three digits."""
    if bounds is None:
        return "undefined"
    low, high = bounds
    return f"{100 * low:.1f} to {100 * high:.1f}" if share else f"{low:.3f} to {high:.3f}"


def p_value(p: float) -> str:
    """A p value, "< 0.001" where it is smaller."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _best(record: ReportRecord) -> tuple[str, Network]:
    """The column of the highest accuracy; of equals the first."""
    return max(record.networks.items(), key=lambda item: item[1].scores.accuracy.value or 0.0)


def _widening(record: ReportRecord) -> float | None:
    """How many times wider the interval of the best accuracy is when people (or ids), not images, are drawn anew."""
    accuracy: Estimate = _best(record)[1].scores.accuracy
    if accuracy.clustered is None or accuracy.by_image is None:
        return None
    width = accuracy.by_image[1] - accuracy.by_image[0]
    return (accuracy.clustered[1] - accuracy.clustered[0]) / width if width else None


def _without_width(record: ReportRecord) -> bool:
    """Whether some interval is a single number."""
    scores = [getattr(network.scores, name) for network in record.networks.values() for name in TITLES]
    return any(bounds[0] == bounds[1] for s in scores for bounds in (s.clustered, s.by_image) if bounds)


def _people(record: ReportRecord) -> list[dict[str, Any]]:
    """One entry a subject, the worst mean accuracy first: what every column says of its cells."""
    columns = {name: {row.subject: row for row in network.subjects} for name, network in record.networks.items()}
    first = next(iter(columns.values()))
    people: list[dict[str, Any]] = [
        {"row": row, "by_name": {name: rows[subject] for name, rows in columns.items()}}
        for subject, row in first.items()
    ]
    for person in people:
        person["mean"] = sum(row.accuracy for row in person["by_name"].values()) / len(columns)
    return sorted(people, key=lambda person: (person["mean"], person["row"].subject))
