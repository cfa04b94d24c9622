"""Which int8 weights have sums that fit 16 bits: how they are scaled so, and how others are seen."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from contract.model_file import EXACT_INT8, LARGEST_PAIR, int8_entries
from export.int8_ranges import weight_scale
from export.source import logits_of


@pytest.mark.parametrize("channels", [3, 4, 6, 64])
def test_int8_weights_of_neighbours_sum_to_what_fits_16_bits(channels: int) -> None:
    weight = torch.randn(200, channels, 3, 3, generator=torch.Generator().manual_seed(0))
    scale = weight_scale(weight)
    integers = torch.round(weight / scale[:, None, None, None]).int().numpy()
    found = [0, 0]
    for channel in range(0, channels, 2):  # the pairs, written out
        pair = integers[:, channel : channel + 2]
        for row in range(3):
            for column in range(3):
                values = pair[:, :, row, column]
                found[0] = max(found[0], max(sum(v for v in both if v > 0) for both in values))
                found[1] = max(found[1], max(-sum(v for v in both if v < 0) for both in values))
    assert max(found) in (LARGEST_PAIR - 1, LARGEST_PAIR)  # as wide as it may be
    assert 255 * max(found) < 2**15
    assert np.abs(integers).max() <= 127
    lone = torch.tensor([[1.0, -1.0, 0.0, 1.0]])[..., None, None]  # no two of one sign beside one another
    assert weight_scale(lone) == 1 / 127


@pytest.mark.parametrize(
    ("pair", "fits"),
    [
        ((64, 64), True),
        ((64, 65), False),
        ((-64, -64), True),
        ((-64, -65), False),
        ((127, -128), True),
        ((1, 127), True),
    ],
)
def test_a_pair_of_weights_that_may_saturate_is_seen(pair: tuple[int, int], fits: bool) -> None:
    for place in range(3):  # of a middle pair of channels, and of the last, behind which one is left over
        weights = np.zeros((2, 5, 1, 3), np.int8)
        weights[1, 2:4, 0, place] = pair
        tensor = numpy_helper.from_array(weights, "w")
        graph = onnx.helper.make_graph([], "g", [], [], [tensor])
        assert int8_entries(onnx.helper.make_model(graph)) == (() if fits else (EXACT_INT8,))
    apart = np.zeros((1, 5, 1, 1), np.int8)
    apart[0, 1:3, 0, 0] = pair  # neighbours, but of two pairs
    other = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [numpy_helper.from_array(apart, "w")]))
    assert int8_entries(other) == ()


def test_weights_that_are_stored_otherwise_count_as_such_that_may_saturate() -> None:
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.INT8, [1, 2, 1, 1], [1, 1])  # as int32_data
    assert not tensor.raw_data
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    assert int8_entries(model) == (EXACT_INT8,)


class OneCell:
    """A split of one cell."""

    def __len__(self) -> int:
        return 1

    def image(self, _: int) -> np.ndarray:
        return np.zeros((32, 32, 3), np.uint8)


def test_an_export_asks_a_file_whose_sums_may_saturate_for_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Session:
        def __init__(self, _: bytes, options: Any, **__: Any) -> None:
            asked.append(options.get_session_config_entry(EXACT_INT8[0]))

        def run(self, *_: Any) -> list[np.ndarray]:
            return [np.array([[0.25, 0.5]], np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    weights = numpy_helper.from_array(np.full((1, 2, 1, 1), 127, np.int8), "w")
    file = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [weights])).SerializeToString()
    assert logits_of(file, OneCell()).tolist() == [[0.25, 0.5]]  # type: ignore[arg-type]
    assert asked == [EXACT_INT8[1]]
