"""``metrics.json``: refused where it is not what the schema says, and the schema names every key."""

import dataclasses
import re
from pathlib import Path

import pytest

from contract.errors import UserError
from evaluate import report_record
from evaluate.report_record import Bootstrap, Dataset, ReportRecord, load_record

ROOT = Path(__file__).resolve().parent.parent


def _record() -> ReportRecord:
    dataset = Dataset("cells", "course", "valid", "given", 3, (1, 2), ("normal", "blast"), 2, 0, 2, 0, "a", "b")
    bootstrap = Bootstrap(0.95, 2000, 0, "subject", 2)
    return ReportRecord(2, "2026-01-01", dataset, bootstrap, 1, {}, (), {}, ("a note",), {"python": "3.11"}, ())


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(_record().to_json(), encoding="utf-8")
    assert load_record(tmp_path) == _record()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"format": 2', '"format": 9'), "format 9"),
        (('"pairs"', '"peers"'), "unknown key 'peers'"),
        (('"n": 3', '"n": "3"'), r"dataset\.n: '3' is not of type int"),
        (('"level": 0.95', '"level": NaN'), "NaN is not a number"),
    ],
)
def test_what_is_not_the_schema_is_refused_by_name(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    (tmp_path / "metrics.json").write_text(_record().to_json().replace(*change), encoding="utf-8")
    with pytest.raises(UserError, match=words):
        load_record(tmp_path)


def test_the_document_names_every_key() -> None:
    document = (ROOT / "docs" / "metrics-schema.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`([a-z_0-9A-Z]+)`", document))
    kinds = [kind for kind in vars(report_record).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) > 10
    for kind in kinds:
        missing = {field.name for field in dataclasses.fields(kind)} - words
        assert not missing, f"{kind.__name__}: {missing}"
