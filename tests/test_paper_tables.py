"""The tables of the course's report: each number below its head."""

from dataclasses import replace
from pathlib import Path

import pytest
from finished_report import network, record

from contract.errors import UserError
from evaluate.paper_tables import part_pictures, part_tables
from evaluate.report_record import Bootstrap, EpochAccuracy, Estimate


def test_the_highest_test_accuracy_is_that_of_its_epoch_beside_the_last_training_accuracy() -> None:
    history = (EpochAccuracy(1, 0.61, 0.5), EpochAccuracy(2, 0.7, 0.6789), EpochAccuracy(3, 0.75, 0.6789))
    highest = part_tables(record(history={"resnet18": history}))["results-accuracy"][0]
    assert highest["head"][1:] == ["epochs", "best epoch", "highest test accuracy", "last training accuracy"]
    assert highest["rows"] == [["resnet18", "3", "2", "67.89 %", "75.00 %"]]  # of two equals the first


def test_pairs_stand_below_their_heads() -> None:
    (pairs,) = part_tables(record())["results-comparison"]
    assert pairs["head"][1:] == ["same verdict", "only a right", "only b right", "McNemar p", "p (Holm)"]
    assert pairs["rows"] == [["resnet18, resnet50", "90.00 %", "2", "1", "0.25", "0.5"]]
    assert "which cells of one person are not, and is too small" in pairs["caption"]
    assert part_tables(record(pairs=()))["results-comparison"] == []


def test_the_networks_are_described_by_their_cards() -> None:
    tables = part_tables(record(networks={"resnet18": network("resnet18", 0.9), "ensemble": network("ensemble", 0.9)}))
    facts = {}
    for part in ("implementation-model", "implementation-loader", "preprocessing-how"):
        (table,) = tables[part]
        assert table["head"] == ["", "resnet18"]  # the ensemble has no card
        facts |= dict(table["rows"])
    assert facts == {
        "ONNX file": "44.7 MB",
        "epoch of the weights": "2",
        "seed": "7",
        "lr": "0.05",
        "batch size": "64",
        "temperature": "1.000",
        "image": "112 × 112 × 3, uint8",
        "mean of cell pixels (RGB)": "70.0, 30.0, 80.0",
        "deviation (RGB)": "1.0, 2.0, 3.0",
        "stain normalisation": "macenko",
        "crop": "native",
        "window": "288 px",
        "stored side": "112 px",
    }


def test_a_crop_without_a_window_has_none_in_the_table() -> None:
    one = network("resnet18", 0.9)
    assert one.file is not None
    card = one.file.card | {"recipe": one.file.card["recipe"] | {"crop": "box"}}
    (table,) = part_tables(record(networks={"resnet18": replace(one, file=replace(one.file, card=card))}))[
        "preprocessing-how"
    ]
    assert [row[0] for row in table["rows"]] == ["stain normalisation", "crop", "stored side"]


def test_ids_of_which_nobody_searched_the_people_are_not_called_people() -> None:
    def rows(**changes: object) -> dict[str, str]:
        return dict(part_tables(record(**changes))["introduction"][0]["rows"])

    unsearched = rows(bootstrap=Bootstrap(0.95, 100, 0, "subject", 3))
    assert (unsearched["people"], unsearched["subject ids"]) == ("unknown", "3 (2 of them in train too)")
    nobody = rows(bootstrap=Bootstrap(0.95, 100, 0, "none", 0), dataset=replace(record().dataset, subjects=0))
    assert (nobody["people"], nobody["subject ids"]) == ("unknown", "unknown")
    assert nobody["scored split"] == "valid (splits: given), 10 cells"


def test_the_interval_is_of_people_and_where_they_are_unknown_or_one_alone_of_images() -> None:
    one = network("resnet18", 0.9)
    table = part_tables(record(networks={"resnet18": one}))["results-accuracy"][1]
    assert table["rows"][0][:3] == ["resnet18", "90.00 %", "50.0 to 75.0"]
    assert table["caption"].endswith("n = 10; 95 % intervals by bootstrap of people")
    unknown = replace(one, scores=replace(one.scores, accuracy=Estimate(0.9, None, (0.6, 0.7))))
    for bootstrap in (Bootstrap(0.95, 100, 0, "none", 0), Bootstrap(0.95, 100, 0, "subject", 1)):
        made = record(networks={"resnet18": unknown}, bootstrap=bootstrap)
        table = part_tables(made)["results-accuracy"][1]
        assert table["rows"][0][:3] == ["resnet18", "90.00 %", "60.0 to 70.0"]
        assert table["caption"].endswith("by bootstrap of images")


def test_figures_are_taken_as_svg_where_there_is_one_and_only_if_the_report_made_them(tmp_path: Path) -> None:
    made = record(files=("roc.png", "roc.svg"), networks={"resnet18": network("resnet18", 0.9)})
    for name in ("confusion_resnet18.png", "roc.png", "roc.svg", "accuracy.png"):
        (tmp_path / name).touch()
    pictures = part_pictures(made, tmp_path)
    assert [p["files"] for p in pictures["implementation-confusion"]] == [[tmp_path / "confusion_resnet18.png"]]
    assert [p["files"] for p in pictures["results-comparison"]] == [[tmp_path / "roc.svg"]]
    with pytest.raises(UserError, match=r"intervals\.png: no such figure: make the report anew"):
        part_pictures(replace(made, files=("intervals.png",)), tmp_path)
