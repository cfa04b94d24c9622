"""The text of a card: its intervals, and what the raw file was compared on."""

from dataclasses import replace

from contract.model_card import ModelCard
from export.card import card_text


def test_card_text_gives_intervals_and_says_what_the_raw_file_was_compared_on(card: ModelCard) -> None:
    intervals = {"valid_auroc": (0.9, 0.95), "valid_auroc_identities": (0.8, 0.99)}
    raw = replace(card, variant="raw", metrics={"valid_auroc": 0.93, "valid_loss": 0.2}, intervals=intervals)
    drawn_only = replace(raw, verification={"raw_cells": 0.0, "raw_drawn_cells": 12.0})
    real = replace(raw, verification={"raw_cells": 977.0, "raw_drawn_cells": 12.0})
    text = card_text(drawn_only, "model.raw.onnx")
    assert "- valid_auroc 0.9300 (0.9000 to 0.9500; people drawn anew: 0.8000 to 0.9900)\n- valid_loss 0.2000\n" in text
    for end, drawn in (("subjects", "subject ids"), ("people", "people or subject ids")):
        other = replace(raw, intervals={f"valid_auroc_{end}": (0.8, 0.99)})
        assert f"; {drawn} drawn anew: 0.8000 to 0.9900)" in card_text(other, "model.raw.onnx")
    assert "on 12 drawn cells and no raw image of valid (export had no --data)" in text
    assert "on 12 drawn cells and the 977 raw images of valid" in card_text(real, "model.raw.onnx")
