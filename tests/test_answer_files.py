"""The CSVs of answers: whose order and spelling they have."""

from dataclasses import replace

from drawn_predictions import drawn_predictions

from contract.manifest import Manifest, Submission
from evaluate.answer_files import csv_files


def test_a_board_s_files_have_its_order_and_spelling_and_each_cell_its_own_answer(manifest: Manifest) -> None:
    found, held = drawn_predictions(), tuple(f"./{i}" if i % 3 else f"{i}" for i in range(60))
    found = replace(found, cells=replace(found.cells, ids=held))
    order = range(59, -1, -1)
    assert 10 < sum(found.verdicts) < 50
    asked = tuple(f"./{i}" if i % 2 else f"{i}" for i in order)
    board = replace(manifest, submissions=(Submission("resnet18", "test", asked),))
    files = csv_files(board, "valid", {split: {"resnet18": found} for split in ("valid", "test")})
    assert list(files) == ["predictions_valid_resnet18.csv", "submission_resnet18.csv", "predictions_test_resnet18.csv"]
    assert files["predictions_valid_resnet18.csv"] == found.to_csv().encode()
    labels = [f"{i},{found.verdicts[n]}" for i, n in zip(asked, order, strict=True)]
    assert files["submission_resnet18.csv"].decode().splitlines() == ["ID,label", *labels]
    header, *rows = found.to_csv().splitlines()
    same = [",".join([i, *rows[n].split(",")[1:]]) for i, n in zip(asked, order, strict=True)]
    assert files["predictions_test_resnet18.csv"].decode().splitlines() == [header, *same]
