"""A thousand random corruptions of a small model file and of its metadata: an error or the same answer, never a crash.

They are run in a process of their own, so that a crash is seen as one. Then the same with a fresh seal on each, as
someone would make it who damages a file on purpose: other weights are other answers then, but nothing may crash.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_model import tiny, write

from contract.errors import UserError
from contract.model_card import ModelCard
from contract.model_file import DIGEST_KEY, check_seal, external_tensor, seal
from evaluate.predictor import Predictor, run_bound

ROOT = Path(__file__).resolve().parents[1]

# Prints how many corruptions of FILE were refused, gave the same probability, and gave another.
JUDGE = """
import collections, json, sys
from pathlib import Path
import numpy as np
from contract.errors import UserError
from contract.model_file import DIGEST_KEY, UNSEALED, seal
from evaluate.predictor import Predictor

good, count, resealed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "resealed"
data, path, rng = good.read_bytes(), good.with_name("corrupted.onnx"), np.random.default_rng(0)
image = rng.integers(0, 256, (1, 40, 40, 3), np.uint8)
wanted = Predictor(good, "cpu", 1).predict(image).probability
place = data.index(DIGEST_KEY.encode()) + len(DIGEST_KEY) + 2
unsealed = data[:place] + UNSEALED.encode() + data[place + 64:]

def corrupt(data):
    at, length, kind = int(rng.integers(len(data))), int(rng.integers(1, 40)), int(rng.integers(5))
    noise = rng.integers(0, 256, length, np.uint8).tobytes()
    flipped, rest = bytes([data[at] ^ 1 << int(rng.integers(8))]), data[at:]
    return data[:at] + (flipped + rest[1:], noise + rest[length:], b"", noise + rest, rest[:length] + rest)[kind]

verdicts = collections.Counter()
for _ in range(count):
    try:
        path.write_bytes(seal(corrupt(unsealed)) if resealed else corrupt(data))
        found = Predictor(path, "cpu", 1).predict(image).probability
    except UserError as error:
        assert str(path) in str(error), error
        verdicts["refused"] += 1
    except ValueError as error:
        assert resealed and "must hold the metadata" in str(error), error
        verdicts["not sealed"] += 1
    else:
        verdicts["same" if np.array_equal(found, wanted) else "other"] += 1
print(json.dumps(verdicts))
"""


def judge(path: Path, count: int, how: str) -> dict[str, int]:
    command = [sys.executable, "-c", JUDGE, str(path), str(count), how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    verdicts: dict[str, int] = json.loads(done.stdout)
    assert sum(verdicts.values()) == count
    return verdicts


def test_corrupted_file_never_crashes_and_never_gives_another_probability(card: ModelCard, tmp_path: Path) -> None:
    verdicts = judge(write(tiny(card), tmp_path / "model.onnx"), 1000, "as it is")
    assert "other" not in verdicts
    assert verdicts["refused"] > 950  # a copy of a stretch of zeros may change nothing


def test_corrupted_file_with_a_fresh_seal_never_crashes(card: ModelCard, tmp_path: Path) -> None:
    verdicts = judge(write(tiny(card), tmp_path / "model.onnx"), 300, "resealed")
    assert verdicts["refused"] > 100
    assert verdicts["other"] > 0  # else nothing but the seal was tried


def test_seal_covers_every_byte(card: ModelCard) -> None:
    data = seal(tiny(card).SerializeToString())
    check_seal(data, "model.onnx")
    for at in range(0, len(data), 7):
        with pytest.raises(UserError, match=r"model\.onnx: (damaged|has no seal)"):
            check_seal(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "model.onnx")
    with pytest.raises(UserError, match="damaged"):
        check_seal(data + b"\0", "model.onnx")


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_in_an_attribute(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="x", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    model.graph.node.append(helper.make_node("Constant", [], ["x"], value=tensor))


def external_in_a_sparse_attribute(model: onnx.ModelProto) -> None:
    values = TensorProto(name="values", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    values.external_data.add(key="location", value="weights.bin")
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("indices", TensorProto.INT64, [1], [0]), [2])
    model.graph.node.append(helper.make_node("Constant", [], ["x"], sparse_value=sparse))


def custom_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"


def subgraph(model: onnx.ModelProto) -> None:
    node = helper.make_node("If", ["one"], ["x"], then_branch=model.graph, else_branch=model.graph)
    model.graph.node.append(node)


def later_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def float_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def other_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 41


def other_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


def further_metadata(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="foreign", value="x")


def other_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 9


def missing_node(model: onnx.ModelProto) -> None:
    del model.graph.node[1]


REFUSED = {
    external: "external data is refused",
    external_in_an_attribute: "external data is refused",
    external_in_a_sparse_attribute: "the tensor 'values' lies in another file: external data is refused",
    custom_domain: "opsets ai.onnx 18, com.example 1",
    custom_operator: "the operator com.example.Cast is not a standard one",
    subgraph: "holds a graph of its own",
    later_opset: "only ai.onnx 18 is read",
    float_input: "not a network of this project",
    other_size: "not a network of this project",
    other_outputs: "not a network of this project",
    further_metadata: "only the card and the seal belong there",
    other_ir: "its card states opset 18 and IR 8",
    missing_node: "not a valid ONNX model",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_sealed_file_that_is_not_ours_is_refused_by_rule(change, card: ModelCard, tmp_path: Path) -> None:
    model = tiny(card)
    change(model)
    with pytest.raises(UserError, match=f"model.onnx: .*{REFUSED[change]}"):
        Predictor(write(model, tmp_path / "model.onnx"), "cpu")


def test_file_over_the_size_limit_is_refused_before_it_is_read(
    card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tiny(card), tmp_path / "model.onnx")
    monkeypatch.setattr("evaluate.model_check.LARGEST_FILE", path.stat().st_size - 1)
    monkeypatch.setattr("evaluate.model_check.read_bytes", lambda *_: pytest.fail("read"))
    with pytest.raises(UserError, match="which no network here has"):
        Predictor(path, "cpu")


def test_image_that_the_recipe_cannot_make_is_refused(card: ModelCard, tmp_path: Path) -> None:
    predictor = Predictor(write(tiny(card), tmp_path / "model.onnx"), "cpu")
    images = np.full((3, 40, 40, 3), 9, np.uint8)
    images[1] = 0
    with pytest.raises(UserError, match="image 1 is all background"):
        predictor.predict(images)
    with pytest.raises(UserError, match="takes crops, not raw images"):
        predictor.predict_raw(images[0])


def test_bound_memory_gives_what_a_plain_run_gives(card: ModelCard, tmp_path: Path) -> None:
    predictor = Predictor(write(tiny(card), tmp_path / "model.onnx"), "cpu", 1)
    images = np.random.default_rng(0).integers(1, 256, (5, 40, 40, 3), np.uint8)
    for bound, plain in zip(
        run_bound(predictor.session, "images", images, "cpu"),
        predictor.session.run(None, {"images": images}),
        strict=True,
    ):
        np.testing.assert_array_equal(bound, plain)


def test_threads_are_what_was_asked_for(card: ModelCard, tmp_path: Path) -> None:
    path = write(tiny(card), tmp_path / "model.onnx")
    assert Predictor(path, "cpu", 3).session.get_session_options().intra_op_num_threads == 3
    assert Predictor(path, "cpu").session.get_session_options().intra_op_num_threads >= 1


def test_a_file_with_two_seals_has_none(card: ModelCard) -> None:
    model = tiny(card)
    (entry,) = [entry for entry in model.metadata_props if entry.key == DIGEST_KEY]
    model.metadata_props.append(entry)
    with pytest.raises(ValueError, match="once"):
        seal(model.SerializeToString())
    twice = onnx.load_from_string(seal(tiny(card).SerializeToString()))
    twice.metadata_props.append(entry)
    with pytest.raises(UserError, match=r"model\.onnx: has no seal"):
        check_seal(twice.SerializeToString(), "model.onnx")


def test_a_tensor_lies_outside_by_its_location_or_by_its_place_alone(card: ModelCard) -> None:
    located, placed = tiny(card), tiny(card)
    assert external_tensor(located) is None
    located.graph.initializer[0].data_location = TensorProto.EXTERNAL
    placed.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    assert external_tensor(located) == external_tensor(placed) == "weight"


def test_a_seal_is_the_hash_of_the_file_with_zeros_in_its_place(card: ModelCard) -> None:
    data = seal(tiny(card).SerializeToString())
    found = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    assert found.keys() == {"leukoshard.model_card", "leukoshard.sha256"}  # by which files that are out are read
    digest = found["leukoshard.sha256"]
    assert hashlib.sha256(data.replace(digest.encode(), b"0" * 64)).hexdigest() == digest
