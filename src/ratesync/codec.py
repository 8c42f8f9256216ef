"""The one place where operations and outcomes become bytes and back.

The format is JSON in UTF-8 with a version number first, so that a queue's content can be read by any tool, survives an
upgrade, and a newer format is recognised by an older worker. Only plain data is ever decoded. Lane and id of an
operation are not part of its bytes: the queue has them as keys.
"""

from __future__ import annotations

import json
import json.encoder
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypedDict, TypeVar, cast

from ratesync.errors import CorruptItem, InvalidPayload, NewerFormat
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record

FORMAT = 1
"""Version of the format that is written. Versions up to it are read."""


_USUAL = frozenset("vkrif")
_OPTIONAL = ("key", "idempotency_key", "correlation_id", "if_version")
_rarely_stored = attrgetter("priority", "not_before", "deadline", *_OPTIONAL)
_NOTHING_RARE = (0, None, None, None, None, None, None)


T = TypeVar("T")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def _prepared() -> Callable[[Any], str]:
    """What ``json`` makes anew for each value, made once: that takes as long as to write a small record."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    try:
        write: Callable[[Any, int], Iterable[str]] = make(
            None, _encoder.default, _quoted, None, ":", ",", False, False, False
        )
        "".join(write({"a": [1, None, "b"]}, 0))
    except (TypeError, ValueError):  # another Python has none, or another one
        return _encoder.encode
    return lambda value: "".join(write(value, 0))


_quoted: Callable[[str], str] = json.encoder.encode_basestring
_encode = _prepared()
_decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).raw_decode


def _to_bytes(value: dict[str, Any], path: str) -> bytes:
    try:
        return _encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _not_json(error, path) from None


def _not_json(error: Exception, path: str) -> InvalidPayload:
    return InvalidPayload(f"cannot be written as JSON ({type(error).__name__})", path=path)


def _from_bytes(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode()
        value, end = _decode(text)
        version = value["v"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptItem(f"stored bytes are damaged or foreign ({type(error).__name__})") from None
    if end != len(text):
        raise CorruptItem("stored bytes are damaged or foreign (there is more than one value)")
    if type(version) is not int or version < 1:
        raise CorruptItem("stored bytes are damaged or foreign (no version)")
    if version > FORMAT:
        raise NewerFormat(f"stored bytes have format {version}, this ratesync reads up to {FORMAT}: upgrade it")
    return value  # type: ignore[no-any-return]  # a JSON object, checked by the lookup of "v"


def encode_operation(operation: Operation, *, path: str = "operation") -> bytes:
    """The bytes of an operation, without its lane and id.

    :raises InvalidPayload: the fields are not JSON.
    """
    try:
        text = _beginning(operation.kind, operation.resource)
        if operation.record_id is not None:
            text = f'{text},"i":{_quoted(operation.record_id)}'
        fields = operation.fields
        if fields:
            text = f'{text},"f":{_encode(fields if type(fields) is dict else dict(fields))}'
        if _rarely_stored(operation) == _NOTHING_RARE:
            return f"{text}}}".encode()
        return f"{text},{_encode(_rarely_given_by(operation))[1:]}".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _not_json(error, path) from None


@lru_cache(maxsize=1024)
def _beginning(kind: Kind, resource: str) -> str:
    return _encode({"v": FORMAT, "k": kind, "r": resource})[:-1]


def _rarely_given_by(operation: Operation) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if operation.priority:
        value["p"] = operation.priority
    if operation.not_before is not None:
        value["n"] = operation.not_before.timestamp()
    if operation.deadline is not None:
        value["d"] = operation.deadline.timestamp()
    for name in _OPTIONAL:
        extra = getattr(operation, name)
        if extra is not None:
            value[name] = extra
    return value


def decode_operation(data: bytes, lane: Lane, operation_id: str) -> Operation:
    """The operation that :func:`encode_operation` wrote, with its id; ``idempotency_key`` is the id if none was given.

    :raises CorruptItem: the bytes are damaged.
    :raises NewerFormat: the bytes were written by a newer version.
    """
    value = _from_bytes(data)
    try:
        return Operation(
            provider=lane.provider,
            connection=lane.connection,
            id=operation_id,
            kind=_KINDS[value["k"]],
            resource=_of(str, value["r"]),
            record_id=_text(value.get("i")),
            fields=_object(value.get("f", {})),
            idempotency_key=_of(str, value.get("idempotency_key", operation_id)),
            **(_NONE_GIVEN if value.keys() <= _USUAL else _rarely_given(value)),
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise CorruptItem(f"stored operation {operation_id} is damaged ({type(error).__name__})") from None


class _RarelyGiven(TypedDict, total=False):
    priority: int
    not_before: datetime | None
    deadline: datetime | None
    key: str | None
    correlation_id: str | None
    if_version: str | None


_NONE_GIVEN = _RarelyGiven()


def _rarely_given(value: dict[str, Any]) -> _RarelyGiven:
    return {
        "priority": _of(int, value.get("p", 0)),
        "not_before": _instant(value.get("n")),
        "deadline": _instant(value.get("d")),
        "key": _text(value.get("key")),
        "correlation_id": _text(value.get("correlation_id")),
        "if_version": _text(value.get("if_version")),
    }


def _of(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise TypeError
    return value


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", _of(dict, value))


def _text(value: Any) -> str | None:
    return value if value is None else _of(str, value)


_KINDS = {str(kind): kind for kind in Kind}


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


_APPLIED = _to_bytes({"v": FORMAT, "o": "applied"}, "outcome")


def encode_outcome(outcome: Outcome) -> bytes:
    """The bytes of an outcome.

    :raises InvalidPayload: a record in it is not JSON (an adapter's mistake).
    """
    if isinstance(outcome, Applied):
        if outcome.record_id is None and outcome.version is None and outcome.record is None:
            return _APPLIED
        value: dict[str, Any] = {"o": "applied", "i": outcome.record_id, "w": outcome.version, "x": outcome.record}
    elif isinstance(outcome, Conflict):
        value = {"o": "conflict", "t": outcome.reason, "x": outcome.current}
    elif isinstance(outcome, RetryLater):
        value = {"o": "retry", "t": outcome.reason, "c": outcome.cause, "a": outcome.retry_after}
    elif isinstance(outcome, Rejected):
        value = {"o": "rejected", "t": outcome.reason, "c": outcome.code}
    else:
        value = {"o": "unknown", "t": outcome.reason}
    record = value.get("x")
    if record is not None:
        value["x"] = _plain(record)
    return _to_bytes({"v": FORMAT} | {name: part for name, part in value.items() if part is not None}, "outcome")


def _plain(record: Record) -> dict[str, Any]:
    if not isinstance(record.fields, Mapping):
        raise InvalidPayload(f"the fields are a {type(record.fields).__name__}, not a mapping", path="record")
    value: dict[str, Any] = {"i": record.record_id, "f": dict(record.fields), "w": record.version}
    if record.changed_at is not None:
        value["t"] = record.changed_at
    return value | ({"ft": dict(record.field_times)} if record.field_times else {})


def decode_outcome(data: bytes) -> Outcome:
    """The outcome that :func:`encode_outcome` wrote.

    :raises CorruptItem: the bytes are damaged.
    :raises NewerFormat: the bytes were written by a newer version.
    """
    value = _from_bytes(data)
    try:
        record = _record(value.get("x"))
        match value["o"]:
            case "applied":
                return Applied(_text(value.get("i")), _text(value.get("w")), record)
            case "conflict":
                return Conflict(_of(str, value["t"]), record)
            case "retry":
                return RetryLater(_of(str, value["t"]), Cause(value["c"]), _seconds(value.get("a")))
            case "rejected":
                return Rejected(_of(str, value["t"]), _text(value.get("c")))
            case "unknown":
                return Unknown(_of(str, value["t"]))
            case other:
                raise CorruptItem(f"stored outcome has an unknown type {other!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptItem(f"stored outcome is damaged ({type(error).__name__})") from None


def _record(value: dict[str, Any] | None) -> Record | None:
    if value is None:
        return None
    record_id, fields = _of(str, value["i"]), _object(value["f"])
    times = {name: _second(at) for name, at in _object(value.get("ft", {})).items()}
    return Record(record_id, fields, _text(value.get("w")), _seconds(value.get("t")), times)


def _seconds(value: Any) -> float | None:
    return None if value is None else _second(value)


def _second(value: Any) -> float:
    return value if type(value) is float else float(_of(int, value))
