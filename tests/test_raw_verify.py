"""When the raw variant passes its comparison, with stand-ins for both files; and the cell that it refuses itself."""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime
import pytest
from tiny_model import tiny

from build_shards.preprocess import preprocess
from contract.errors import UserError
from contract.model_card import ModelCard
from export import raw_verify
from export.raw_graph import to_raw
from export.raw_verify import RawComparison, compare_raw

BOX = (0, 0, 4, 4)
ANOTHER = 13  # the image whose box the raw file gives otherwise
IMAGE, ANOTHER_IMAGE = (bytes(cv2.imencode(".png", np.full((4, 4, 3), i, np.uint8))[1]) for i in (5, 6))
Says = Callable[[int], float]
Compare = Callable[..., RawComparison]


@dataclass(frozen=True)
class StandIn:
    """For a session of onnxruntime: what it says of an image is read off the first pixel."""

    says: Says

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        (image,) = feed.values()
        value = int(image.reshape(-1)[0])
        box = (1, 0, 4, 4) if value == ANOTHER else BOX
        return [np.array([self.says(value)]), np.array(box)][: len(names)]


@pytest.fixture
def compare(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """``compare(raw, float32)`` compares files that say so of images 0 to 11; or of ``images``, at ``threshold``."""

    def run(raw: Says, float32: Says, images: range = range(12), threshold: float = 0.5) -> RawComparison:
        files = {b"raw": StandIn(raw), b"float32": StandIn(float32)}
        monkeypatch.setattr(raw_verify.onnxruntime, "InferenceSession", lambda file, **_: files[file])
        monkeypatch.setattr(raw_verify, "preprocess", lambda image, *_: SimpleNamespace(image=image, box=BOX))
        monkeypatch.setattr(raw_verify, "draw_cells", lambda _: [np.full((4, 4, 3), i, np.uint8) for i in images])
        return compare_raw(b"raw", b"float32", replace(card, threshold=threshold), None, None, None)

    return run


def test_a_raw_file_that_says_nothing_of_a_cell_does_not_pass(compare: Compare) -> None:
    assert compare(lambda _: 0.2, lambda _: 0.2).passed
    found = compare(lambda i: np.nan if i == 3 else 0.2, lambda _: 0.2)
    assert (found.passed, found.within, found.largest) == (False, 11 / 12, np.inf)


def test_a_raw_file_more_than_a_hundredth_off_does_not_pass(compare: Compare) -> None:
    assert compare(lambda _: 0.2099, lambda _: 0.2).passed
    assert not compare(lambda _: 0.2101, lambda _: 0.2).passed


def test_a_raw_file_that_decides_otherwise_at_the_card_s_threshold_does_not_pass(compare: Compare) -> None:
    found = compare(lambda _: 0.249, lambda _: 0.251, threshold=0.25)
    assert (found.within, found.same_decision, found.passed) == (1, 0, False)
    assert not RawComparison(1000, 12, 1.0, 0.998, 0.001).passed


def test_a_raw_file_with_another_box_is_refused(compare: Compare) -> None:
    with pytest.raises(UserError, match=r"raw variant: the box .* is not the builder's"):
        compare(lambda _: 0.2, lambda _: 0.2, range(10, 22))


class Numbered:
    """Three cells of valid."""

    def __len__(self) -> int:
        return 3

    def info(self, i: int) -> dict[str, int]:
        return {"n": i}


@dataclass(frozen=True)
class OneCell:
    """One cell of valid, with its JSON."""

    said: dict[str, object]

    def __len__(self) -> int:
        return 1

    def info(self, _: int) -> dict[str, object]:
        return self.said


def test_every_raw_cell_of_valid_is_compared(card: ModelCard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(raw_verify.onnxruntime, "InferenceSession", lambda *_, **__: None)
    monkeypatch.setattr(raw_verify, "draw_cells", lambda _: [])
    monkeypatch.setattr(raw_verify, "_read_and_run", lambda _, __, info: 0.5 if info["n"] < 2 else 0.9)
    logits = np.zeros((3, 2), np.float32)
    found = compare_raw(b"raw", b"float32", card, Numbered(), logits, tmp_path)  # type: ignore[arg-type]
    assert (found.cells, found.within) == (3, 2 / 3)


@pytest.mark.parametrize(
    ("content", "box", "words"),
    [
        (IMAGE, BOX, None),
        (IMAGE, (1, 0, 4, 4), r"one\.png: raw variant: the box \[0, 0, 4, 4\] is not the builder's \[1, 0, 4, 4\]"),
        (ANOTHER_IMAGE, BOX, r"one\.png: is not the image that the shards were built from"),
    ],
)
def test_a_raw_cell_is_the_builder_s_image_and_box(
    content: bytes,
    box: tuple[int, ...],
    words: str | None,
    card: ModelCard,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(raw_verify.onnxruntime, "InferenceSession", lambda *_, **__: StandIn(lambda _: 0.5))
    monkeypatch.setattr(raw_verify, "draw_cells", lambda _: [])
    (tmp_path / "one.png").write_bytes(content)
    info = {"source": "one.png", "sha256": hashlib.sha256(IMAGE).hexdigest(), "box": list(box)}
    with nullcontext() if words is None else pytest.raises(UserError, match=words):
        found = compare_raw(b"", b"", card, OneCell(info), np.zeros((1, 2), np.float32), tmp_path)  # type: ignore[arg-type]
        assert found.passed


def test_the_raw_file_refuses_a_cell_of_which_nothing_is_stored(card: ModelCard) -> None:
    image = np.zeros((90, 90, 3), np.uint8)
    image[5:85:20, 5:85:20] = 90  # 16 pixels, far apart: less than half of any stored pixel
    with pytest.raises(UserError, match="too few for one pixel"):
        preprocess(image, card.recipe, "cell")
    raw = to_raw(tiny(card), card)
    raw.ir_version = 8
    session = onnxruntime.InferenceSession(raw.SerializeToString(), providers=["CPUExecutionProvider"])
    logits, probability, cam, _ = session.run(None, {"image": image})
    assert all(np.isnan(output).all() for output in (logits, probability, cam))


def test_raw_cells_are_compared_at_the_temperature_of_the_card(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(raw_verify.onnxruntime, "InferenceSession", lambda *_, **__: None)
    monkeypatch.setattr(raw_verify, "draw_cells", lambda _: [])
    monkeypatch.setattr(raw_verify, "_read_and_run", lambda *_: 1 / (1 + np.exp(-1)))
    logits = np.array([[0, 2]] * 3, np.float32)
    found = compare_raw(b"raw", b"float32", replace(card, temperature=2.0), Numbered(), logits, tmp_path)  # type: ignore[arg-type]
    assert (found.within, found.largest) == (1, pytest.approx(0))


def test_drawn_cells_and_those_of_valid_are_counted_apart() -> None:
    found = RawComparison(1012, 12, 0.995, 0.999, 0.02)
    assert found.passed
    assert not replace(found, within=0.9949).passed
    assert found.stated() == {
        "raw_cells": 1000,
        "raw_drawn_cells": 12,
        "raw_within": 0.995,
        "raw_same_decision": 0.999,
        "raw_largest_probability_error": 0.02,
    }


def test_drawn_cells_are_smaller_and_larger_than_the_window_and_off_the_centre() -> None:
    images = raw_verify.draw_cells(60)
    masks = [image.any(axis=2) for image in images]
    sides = [max(np.ptp(np.flatnonzero(mask.any(axis=axis))) + 1 for axis in (0, 1)) for mask in masks]
    assert len(images) == len({image.shape for image in images}) == 12
    assert sum(side > 60 for side in sides) >= 2
    assert sum(side < 50 for side in sides) >= 2
    middles = [np.argwhere(mask).mean(axis=0) - np.array(mask.shape) / 2 for mask in masks]
    assert max(np.abs(middle).max() for middle in middles) > 5
