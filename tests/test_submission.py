"""CSVs for a Kaggle board: exact header, exact order, nothing missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import UserError
from contract.manifest import Manifest, Submission
from evaluate.submission import wanted_order, write_predictions, write_submission


def test_the_file_is_exactly_id_label_in_the_given_order(tmp_path: Path) -> None:
    # The IDs as the board spells them; the shards know each image by its plain path.
    write_submission(tmp_path / "s.csv", ["./b.bmp", "a.bmp"], {"a.bmp": 1, "b.bmp": 0, "c.bmp": 1})
    assert (tmp_path / "s.csv").read_text() == "ID,label\n./b.bmp,0\na.bmp,1\n"


def test_predictions_carry_the_probability(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", ["x"], {"x": 1}, {"x": 0.87654321})
    assert (tmp_path / "p.csv").read_text() == "ID,label,probability\nx,1,0.876543\n"


@pytest.mark.parametrize(("ids", "word"), [(["a", "gone"], "gone"), (["a", "b", "a"], "twice")])
def test_an_id_without_prediction_or_twice_is_refused_and_nothing_is_written(
    tmp_path: Path, ids: list[str], word: str
) -> None:
    with pytest.raises(UserError, match=word):
        write_submission(tmp_path / "s.csv", ids, {"a": 0, "b": 1})
    assert list(tmp_path.iterdir()) == []


def test_each_network_gets_the_order_of_its_own_csv(manifest: Manifest) -> None:
    orders = {arch: wanted_order(manifest, "test", arch).ids for arch in ("resnet18", "resnet50", "resnet152")}
    assert len(set(orders.values())) == 3
    assert len({frozenset(ids) for ids in orders.values()}) == 1


def test_a_further_split_has_one_list_for_all_networks(manifest: Manifest) -> None:
    more = replace(manifest, submissions=(*manifest.submissions, Submission("ward", "ward", ("a", "b"))))
    assert wanted_order(more, "ward", "resnet50").ids == ("a", "b")


def test_a_network_without_a_csv_is_refused_by_name(manifest: Manifest) -> None:
    fewer = replace(manifest, submissions=tuple(s for s in manifest.submissions if s.name != "resnet50"))
    with pytest.raises(UserError, match=r"no test CSV for resnet50: there are resnet152, resnet18"):
        wanted_order(fewer, "test", "resnet50")
