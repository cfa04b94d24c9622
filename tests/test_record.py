import json
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import UserError
from contract.record import check_choices, from_json, to_json


@dataclass(frozen=True)
class Inner:
    name: str
    box: tuple[int, int]


@dataclass(frozen=True)
class Outer:
    count: int
    ratio: float
    sure: bool
    kind: Literal["a", "b"]
    subject: str | None
    items: tuple[Inner, ...]
    scores: dict[str, float]
    free: dict[str, Any]


def outer(**changes: Any) -> dict[str, Any]:
    inner = {"name": "n", "box": [1, 2]}
    good = {
        "count": 3,
        "ratio": 0.5,
        "sure": True,
        "kind": "a",
        "subject": None,
        "items": [inner],
        "scores": {"x": 1.0},
    }
    return good | {"free": {"deep": [1, None]}} | changes


def read(data: Any) -> Outer:
    return from_json(Outer, json.dumps(data), "file.json")


def test_a_record_survives_the_round_trip():
    record = read(outer())
    assert record.items == (Inner("n", (1, 2)),)
    assert from_json(Outer, to_json(record), "again") == record


@given(
    st.builds(Inner, st.text(st.characters(exclude_categories=["Cs"])), st.tuples(st.integers(), st.integers())),
)
def test_any_text_and_integers_survive_the_round_trip(record: Inner):
    assert from_json(Inner, to_json(record), "again") == record


def test_json_keeps_the_order_of_the_fields_and_ends_with_one_newline():
    text = to_json(Inner("ö", (1, 2)))
    assert text.index("name") < text.index("box")
    assert "ö" in text
    assert text.endswith("}\n")
    assert text == '{\n  "name": "ö",\n  "box": [\n    1,\n    2\n  ]\n}\n'  # digests of manifests are of such text


def test_an_integer_is_welcome_where_a_float_belongs_and_becomes_one():
    ratio = read(outer(ratio=2)).ratio
    assert ratio == 2.0
    assert isinstance(ratio, float)


def test_an_unknown_key_is_refused_and_the_valid_ones_listed():
    with pytest.raises(UserError, match=r"file\.json: unknown key 'colour': valid are count, ratio, sure, kind"):
        read(outer(colour=1))


def test_a_missing_key_is_refused():
    data = outer()
    del data["ratio"]
    with pytest.raises(UserError, match=r"file\.json: the key 'ratio' is missing"):
        read(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": "3"}, r"file\.json\.count: '3' is not of type int"),
        ({"count": 3.0}, r"file\.json\.count: 3\.0 is not of type int"),
        ({"count": True}, r"file\.json\.count: True is not of type int"),
        ({"count": None}, r"file\.json\.count: None is not of type int"),
        ({"ratio": False}, r"file\.json\.ratio: False is not of type float"),
        ({"sure": 1}, r"file\.json\.sure: 1 is not of type bool"),
        ({"kind": "c"}, r"file\.json\.kind: 'c' is not one of a, b"),
        ({"subject": 11}, r"file\.json\.subject: 11 is not of type str"),
        ({"items": {}}, r"file\.json\.items: {} is not of type list"),
        ({"items": [{"name": "n", "box": [1, "2"]}]}, r"file\.json\.items\[0\]\.box\[1\]: '2' is not of type int"),
        ({"items": [{"name": "n", "box": [1]}]}, r"file\.json\.items\[0\]\.box: 1 values where 2 belong"),
        ({"items": [{"name": "n"}]}, r"file\.json\.items\[0\]: the key 'box' is missing"),
        ({"scores": {"x": "high"}}, r"file\.json\.scores\.x: 'high' is not of type float"),
        ({"scores": [1.0]}, r"file\.json\.scores: \[1\.0\] is not of type dict"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_whole_path(changes: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        read(outer(**changes))


@pytest.mark.parametrize("text", ["", "{", "{'count': 3}", "not json", "\x00", r'{"a": "\ud800"}', r'{"\udfff": 1}'])
def test_text_that_is_not_json_is_refused(text: str):
    with pytest.raises(UserError, match=r"file\.json: not JSON"):
        from_json(Inner, text, "file.json")


@pytest.mark.parametrize("text", ["[]", "null", "3", '"text"'])
def test_json_that_is_not_an_object_is_refused(text: str):
    with pytest.raises(UserError, match=r"file\.json: .* is not of type dict"):
        from_json(Inner, text, "file.json")


def test_nan_is_never_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(replace(read(outer(ratio=0.5)), ratio=float("nan")))


def test_nan_and_a_key_twice_are_refused_on_reading():
    with pytest.raises(UserError, match="NaN is not a number"):
        from_json(Outer, '{"ratio": NaN}', "file.json")
    with pytest.raises(UserError, match="a key stands there twice"):
        from_json(Outer, '{"ratio": 1, "ratio": 2}', "file.json")


@dataclass(frozen=True)
class Sides:
    sides: Literal[1, 8] = 1
    how: Literal["mean", "first"] = "mean"
    subject: str | None = None

    def __post_init__(self) -> None:
        check_choices(self)


def test_python_s_own_values_are_checked_too():
    assert Sides(8, "first", "anyone") == Sides(8, "first", "anyone")
    with pytest.raises(UserError, match=r"^sides: 2 is not one of 1, 8$"):
        Sides(2)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^how: 'median' is not one of mean, first$"):
        replace(Sides(), how="median")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^sides: True is not one of 1, 8$"):
        Sides(True)  # type: ignore[arg-type]


def test_numbers_and_nesting_beyond_what_python_bears_are_refused():
    with pytest.raises(UserError, match=r"file\.json\.ratio: a number of 401 digits is too large"):
        read(outer(ratio=10**400))
    with pytest.raises(UserError, match=r"file\.json: not JSON"):
        from_json(Outer, "[" * 200_000, "file.json")


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_that_is_infinite_to_python_is_refused(number: str):
    for text, where in (
        (outer(ratio=1234.5), r"ratio -?inf"),
        (outer(free={"deep": [1234.5]}), r"free\.deep \[-?inf\]"),
    ):
        with pytest.raises(UserError, match=rf"^file\.json\.{where}: must be finite$"):
            from_json(Outer, json.dumps(text).replace("1234.5", number), "file.json")


def test_half_a_character_is_refused_and_a_whole_one_is_not():
    with pytest.raises(UserError, match=r"^file\.json: not JSON: .*surrogates not allowed"):
        from_json(Inner, r'{"name": "\ud800 x", "box": [1, 2]}', "file.json")
    assert from_json(Inner, r'{"name": "\ud83d\ude00", "box": [1, 2]}', "file.json").name == "\U0001f600"
