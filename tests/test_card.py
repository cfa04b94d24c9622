"""The text of a card, what it says of labels, intervals and comparisons; and files whose card is not printed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_model import tiny, write

from contract.errors import UserError
from contract.model_card import METADATA_KEY, ModelCard
from export.card import card_text, show_card


def test_card_text_gives_intervals_and_says_what_the_raw_file_was_compared_on(card: ModelCard) -> None:
    intervals = {"valid_auroc": (0.9, 0.95), "valid_auroc_identities": (0.8, 0.99)}
    raw = replace(card, variant="raw", metrics={"valid_auroc": 0.93, "valid_loss": 0.2}, intervals=intervals)
    drawn_only = replace(raw, verification={"raw_cells": 0.0, "raw_drawn_cells": 12.0})
    real = replace(raw, verification={"raw_cells": 1867.0, "raw_drawn_cells": 12.0, "raw_error": 0.00012345})
    text = card_text(drawn_only, "model.raw.onnx")
    assert "- valid_auroc 0.9300 (0.9000 to 0.9500; people drawn anew: 0.8000 to 0.9900)\n- valid_loss 0.2000\n" in text
    for end, drawn in (("subjects", "subject ids"), ("people", "people or subject ids")):
        other = replace(raw, intervals={f"valid_auroc_{end}": (0.8, 0.99)})
        assert f"; {drawn} drawn anew: 0.8000 to 0.9900)" in card_text(other, "model.raw.onnx")
    assert "on 12 drawn cells and no raw image of valid (export had no --data)" in text
    assert "on 12 drawn cells and the 1867 raw images of valid" in card_text(real, "model.raw.onnx")
    assert "- raw_cells 1867\n- raw_drawn_cells 12\n- raw_error 0.000123\n" in card_text(real, "model.raw.onnx")
    endless = replace(raw, verification={"raw_error": float("inf"), "raw_within": float("nan")})
    assert "- raw_error inf\n- raw_within nan\n" in card_text(endless, "model.raw.onnx")


def test_card_text_says_where_a_training_had_none(card: ModelCard) -> None:
    text = card_text(replace(card, training={"lr": 0.0, "initial": "", "teacher": "", "refit": False}), "model.onnx")
    assert "\n- lr 0.0, initial -, teacher -, refit False\n" in text


def test_what_a_card_says_steers_no_terminal(card: ModelCard) -> None:
    text = card_text(replace(card, dataset="cells \x1b]0;title\x07\x1b[2J\n- of ours"), "model\x1b.onnx")
    assert "trained from scratch on: cells \ufffd]0;title\ufffd\ufffd[2J\ufffd- of ours\n" in text
    assert "\x1b" not in text


def test_card_text_says_which_label_is_which_and_what_the_numbers_are_of(card: ModelCard) -> None:
    other = replace(card, classes=("HEM", "ALL"), mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), threshold=0.25, epoch=7)
    text = card_text(replace(other, calibration=("a", "b"), float_layers=("conv1", "fc")), "model.onnx")
    for line in (
        "takes crops, uint8 [N, 40, 40, 3] RGB, as a shard holds them; label 0 is HEM, label 1 is ALL",
        "calls a cell ALL where its probability is 0.25 or more (default 0.5)",
        "the probability is not calibrated",
        "float32 layers of int8: conv1, fc",
        "mean 1.00 2.00 3.00, std 4.00 5.00 6.00 of the training split's cell pixels (RGB, 0..255)",
        f"epoch 7, seed 0, shards {card.manifest_digest}",
        "int8 ranges from 2 training cells: a b",
    ):
        assert f"{line}\n" in text, line
    assert "## On the validation split (n = unknown); 95 %" in text
    strict = card_text(replace(other, threshold=float(np.float32(0.99997)) + 1e-9), "model.onnx")
    assert "calls a cell ALL where its probability is 0.99997 or more (default 0.5)\n" in strict  # not where it is 1
    calibrated = card_text(replace(other, temperature=1.5), "model.onnx")
    assert "logits are divided by the temperature 1.5 before it" in calibrated
    assert "not calibrated" not in calibrated


def test_a_card_is_not_printed_of_a_file_that_is_damaged_or_has_none(card: ModelCard, tmp_path: Path) -> None:
    path, model = tmp_path / "model.onnx", tiny(card)
    with pytest.raises(UserError, match=r"model\.onnx: no such file: export the network first"):
        show_card(path)
    data = write(model, path).read_bytes()
    path.write_bytes(data.replace(b'"threshold": 0.5', b'"threshold": 0.1'))
    with pytest.raises(UserError, match=r"model\.onnx: damaged"):
        show_card(path)
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    model.metadata_props.append(entry)
    with pytest.raises(UserError, match=r"model\.onnx: has no model card"):
        show_card(write(model, path))
    for _ in range(2):
        model.metadata_props.remove(entry)
    with pytest.raises(UserError, match=r"model\.onnx: has no model card"):
        show_card(write(model, path))
