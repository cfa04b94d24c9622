"""Frozen dataclasses to and from JSON, refusing what they do not know."""

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

from contract.errors import UserError

T = TypeVar("T")


def to_json(record: Any) -> str:
    """Serialise a dataclass as JSON: keys in field order, two spaces, one final newline, no NaN."""
    return json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(cls: type[T], text: str, source: str, only_format: int | None = None, otherwise: str = "") -> T:
    """Read ``text`` into the dataclass ``cls``; ``source`` names the file in errors.

    Raises ``UserError`` for text that is not JSON, an unknown key, a missing key or a value of another type; before
    these, for a record whose key ``format`` says another than ``only_format``, with what to do ``otherwise``.
    """
    try:
        data = parsed(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: not JSON: {error}") from None
    found = data.get("format", only_format) if isinstance(data, dict) else only_format
    if only_format is not None and found != only_format:
        raise UserError(f"{source}: format {found!r}: this code reads format {only_format}: {otherwise}")
    return _read(cls, data, source)


def parsed(text: str | bytes, **hooks: Any) -> Any:
    """As ``json.loads``; ``ValueError`` also for half a character, which JSON can escape and no file can hold."""
    data = json.loads(text, **hooks)
    json.dumps(data, ensure_ascii=False).encode()
    return data


def check_choices(record: Any) -> None:
    """Raise ``UserError`` where a field that a ``Literal`` annotates holds none of its values: call it after init.

    Python itself takes any value: ``Config(optimizer="adam")`` would train, by whatever an ``else`` stands for.
    """
    for name, kind in typing.get_type_hints(type(record)).items():
        if typing.get_origin(kind) is typing.Literal:
            _check_choice(getattr(record, name), typing.get_args(kind), name)


def _check_choice(value: Any, valid: tuple[Any, ...], where: str) -> None:
    if not any(type(value) is type(one) and value == one for one in valid):  # True is no 1
        raise UserError(f"{where}: {value!r} is not one of {', '.join(map(str, valid))}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON leaves open which of two equal keys counts: none does here."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _refuse_infinite(value: Any, where: str) -> None:
    """1e999 is a number to JSON and none here."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise UserError(f"{where} {value}: must be finite") from None


def _read(kind: Any, value: Any, where: str) -> Any:
    """Check ``value`` against the annotation ``kind`` and rebuild tuples and dataclasses from lists and dicts."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_record(kind, value, where)
    if origin is typing.Literal:
        _check_choice(value, arguments, where)
        return value
    if origin is types.UnionType:
        return None if value is None else _read(arguments[0], value, where)
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if origin is dict:
        _expect(dict, value, where)
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    _refuse_infinite(value, where)
    if kind is Any:
        return value
    _expect(kind, value, where)
    try:
        return kind(value)
    except OverflowError:
        raise UserError(f"{where}: a number of {len(str(value))} digits is too large") from None


def _read_record(kind: Any, value: Any, where: str) -> Any:
    _expect(dict, value, where)
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    unknown, missing = [key for key in value if key not in names], [name for name in names if name not in value]
    if unknown:
        raise UserError(f"{where}: unknown key {unknown[0]!r}: valid are {', '.join(names)}")
    if missing:
        raise UserError(f"{where}: the key {missing[0]!r} is missing")
    values = {name: _read(hints[name], value[name], f"{where}.{name}") for name in names}
    try:
        return kind(**values)
    except UserError as error:  # a rule of the dataclass, which cannot know the file
        raise UserError(f"{where}: {error}") from None


def _read_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _expect(list, value, where)
    if arguments[-1] is Ellipsis:
        return tuple(_read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(arguments):
        raise UserError(f"{where}: {len(value)} values where {len(arguments)} belong")
    return tuple(
        _read(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(arguments, value, strict=True))
    )


def _expect(kind: type, value: Any, where: str) -> None:
    """JSON has one number type: an int is welcome where a float belongs, a bool is neither."""
    accepted: tuple[type, ...] = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{where}: {value!r} is not of type {kind.__name__}")
