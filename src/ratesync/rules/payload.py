"""Which fields can be sent: those that are JSON, not nested too deeply and not too large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, cast

from ratesync.errors import InvalidPayload
from ratesync.model.policy import PayloadLimits

MAX_DIGITS = 4300
"""Most decimal digits of an int. CPython refuses to write or read longer ones, as that takes quadratic time."""

_FEW = 64
_SHORT = 4096
_CONTAINERS = (dict, list, tuple)
_NUMBERS = frozenset({int, float, bool})
_TOO_LARGE = 10**MAX_DIGITS
"""Above every float but infinity. Nothing is less or greater than NaN."""
_NAME_SHOWN = 40

_NOT_FINITE = "NaN and Infinity are not JSON: give None or a str"
_ANY_HINT = "give a str, int, float, bool, None, list or dict"
_HINTS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((datetime, date, time), "give a str, for example value.isoformat()"),
    (timedelta, "give seconds, for example value.total_seconds()"),
    (Decimal, "give a str, for example str(value)"),
    ((bytes, bytearray, memoryview), "give text: decode it, or encode it as base64"),
    ((set, frozenset), "give a list, for example sorted(value)"),
    (Enum, "give its value, for example value.value"),
    (Mapping, "give a dict, for example dict(value)"),
)


def check_fields(fields: object, limits: PayloadLimits, path: str) -> None:
    """Check that ``fields`` can be written as JSON and read back unchanged.

    ``fields`` must be a mapping with str keys; inside it str, int, finite float, bool, None, list, tuple and dict are
    allowed. The exact size is known only when the operation is encoded; here, what is surely above
    ``limits.max_bytes`` is refused before time or memory is spent on it. The cost is bounded by ``max_bytes``, also
    for structures that share parts or contain themselves.

    :raises InvalidPayload: names the place below ``path``, never the value.
    """
    if not _is_plain(fields):
        _check_tree(fields, limits, path)


def _is_plain(fields: Any) -> bool:
    """The hot path: tell whether this is a small flat dict without any fault."""
    if fields.__class__ is not dict or len(fields) > _FEW:
        return False
    for name, value in fields.items():
        if type(name) is not str or not (name.isascii() or _is_unicode(name)):
            return False
        if type(value) is str:
            fine = len(value) <= _SHORT and (value.isascii() or _is_unicode(value))
        elif type(value) in _NUMBERS:
            fine = -_TOO_LARGE < value < _TOO_LARGE
        else:
            fine = value is None
        if not fine:
            return False
    return True


def _is_unicode(text: str) -> bool:
    """Tell whether the text has no lone surrogate, that is, can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_tree(fields: object, limits: PayloadLimits, path: str) -> None:
    """Walk in document order without recursion, so that no depth can exhaust the stack."""
    if not isinstance(fields, Mapping):
        raise InvalidPayload(f"must be a mapping of names to values, not {_type_of(fields)}", path=path)
    root = cast("Mapping[object, object]", fields)
    trail: list[str | int] = [path]
    open_containers = [_members(root, trail)]
    weight = _weight_of_names(root)
    while open_containers:
        member = next(open_containers[-1], None)
        if member is None:
            open_containers.pop()
            trail.pop()
            continue
        name, value = member
        trail.append(name)
        weight += _weigh(value, trail)
        if weight > limits.max_bytes:
            raise InvalidPayload(f"larger than {limits.max_bytes} bytes as JSON: send less at once", path=path)
        if not isinstance(value, _CONTAINERS):
            trail.pop()
            continue
        if len(open_containers) == limits.max_depth:
            problem = f"nested deeper than {limits.max_depth} levels, or contains itself: make it flatter"
            raise InvalidPayload(problem, path=_place(trail))
        open_containers.append(_members(cast("object", value), trail))


def _members(container: object, trail: list[str | int]) -> Iterator[tuple[str | int, object]]:
    """Names and values of a mapping, whose names are checked, or indexes and values of a sequence."""
    if not isinstance(container, Mapping):
        return iter(enumerate(cast("Sequence[object]", container)))
    mapping = cast("Mapping[object, object]", container)
    for name in mapping:
        if not isinstance(name, str):
            problem = f"a key is {_type_of(name)}: JSON has only str keys, use str(key)"
            raise InvalidPayload(problem, path=_place(trail))
        if not _is_unicode(name):
            raise InvalidPayload("the key has a lone surrogate, which UTF-8 cannot hold", path=_place([*trail, name]))
    return iter(cast("Mapping[str, object]", mapping).items())


def _weight_of_names(container: Mapping[object, object]) -> int:
    return sum(len(name) for name in container if isinstance(name, str))


def _weigh(value: object, trail: list[str | int]) -> int:
    """Bytes that the value, without its members' values, has as JSON at the very least."""
    if isinstance(value, str):
        if not (value.isascii() or _is_unicode(value)):
            raise InvalidPayload("has a lone surrogate, which UTF-8 cannot hold", path=_place(trail))
        return len(value) + 1
    if isinstance(value, (int, float)):  # also bool
        if not -_TOO_LARGE < value < _TOO_LARGE:
            is_int = isinstance(value, int)
            problem = f"an int of more than {MAX_DIGITS} digits: give a str" if is_int else _NOT_FINITE
            raise InvalidPayload(problem, path=_place(trail))
        return 1 if isinstance(value, float) else value.bit_length() // 4 + 1
    if isinstance(value, dict):
        return _weight_of_names(cast("dict[object, object]", value)) + 1
    if value is not None and not isinstance(value, _CONTAINERS):
        hint = next((hint for types, hint in _HINTS if isinstance(value, types)), _ANY_HINT)
        raise InvalidPayload(f"{_type_of(value)} is not JSON: {hint}", path=_place(trail))
    return 1


def _type_of(value: object) -> str:
    return f"<{type(value).__name__}>"


def _place(trail: list[str | int]) -> str:
    """The trail as a path that is safe to print: ``operation.fields.tags[0]``."""
    root, *names = trail
    return f"{root}{''.join(map(_segment, names))}"


def _segment(name: str | int) -> str:
    if isinstance(name, int):
        return f"[{name}]"
    if len(name) > _NAME_SHOWN:
        name = f"{name[:_NAME_SHOWN]}..."
    return f".{name}" if name.isidentifier() else f"[{name!r}]"
