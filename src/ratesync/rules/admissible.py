"""Which operations may be enqueued: those that are well formed and that their provider can carry out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from unicodedata import category

from ratesync.errors import InvalidOperation, UnknownProvider, UnsupportedOperation
from ratesync.model.batch import Capabilities, ConditionalWrite
from ratesync.model.operation import Kind, Operation
from ratesync.model.policy import PayloadLimits
from ratesync.rules.payload import check_fields

MAX_NAME = 255
"""Most characters of a name."""
MAX_ID = 512
"""Most characters of a record id or an idempotency key."""
MAX_PRIORITY = 100
"""Priorities go from minus this to this."""
FIRST_YEAR, LAST_YEAR = 1971, 9998
"""Years of an instant that every platform and every time zone can compute with."""

_CREATE, _READ, _DELETE = Kind.CREATE, Kind.READ, Kind.DELETE
_CONDITIONAL = frozenset({Kind.UPDATE, Kind.UPSERT, Kind.DELETE})

_LENGTHS = {
    "id": MAX_NAME,
    "key": MAX_NAME,
    "idempotency_key": MAX_ID,
    "correlation_id": MAX_NAME,
    "if_version": MAX_NAME,
}
_INSTANTS = ("not_before", "deadline")
_rarely_given = attrgetter(*_LENGTHS, *_INSTANTS)
_NONE_GIVEN = (None,) * (len(_LENGTHS) + len(_INSTANTS))


def check_operation(
    operation: object, capabilities: Mapping[str, Capabilities], limits: PayloadLimits, path: str
) -> None:
    """Check everything that can be known of an operation before it is enqueued.

    ``capabilities`` are those of the known providers, by name. ``path`` is the operation's place in the submission, for
    error messages; they name the place below it, never a value.

    :raises InvalidOperation: an attribute has the wrong type or form, or does not go with the others.
    :raises UnknownProvider: there is no provider of that name.
    :raises UnsupportedOperation: the provider cannot do this.
    :raises InvalidPayload: see :func:`ratesync.rules.payload.check_fields`.
    """
    if not isinstance(operation, Operation):
        problem = f"must be an Operation, not {_type_of(operation)}: build it with Operation.update and its like"
        raise InvalidOperation(problem, path=path)
    able = _able(operation.provider, capabilities, path)
    _check_text(operation.resource, MAX_NAME, path, "resource")
    _check_kind(operation.kind, able, path)
    check_values(operation, able, limits, path)


def check_values(operation: Operation, able: Capabilities, limits: PayloadLimits, path: str) -> None:
    """The part of :func:`check_operation` that is left where another operation of the same target was admissible.

    That is its provider, whose capabilities are ``able``, its resource and kind.
    """
    _check_text(operation.connection, MAX_NAME, path, "connection")
    kind = operation.kind
    if operation.record_id is not None or kind is not _CREATE:
        _check_text(operation.record_id, MAX_ID, path, "record_id")
    if (kind is _READ or kind is _DELETE) and operation.fields:
        raise InvalidOperation(f"must be empty, as a {kind} writes no fields", path=f"{path}.fields")
    check_fields(operation.fields, limits, f"{path}.fields")
    _check_priority(operation.priority, path)
    if _rarely_given(operation) != _NONE_GIVEN:
        _check_rarely_given(operation, able, path)


def _able(provider: object, capabilities: Mapping[str, Capabilities], path: str) -> Capabilities:
    """The capabilities of the provider of that name."""
    able = capabilities.get(provider) if isinstance(provider, str) else None
    if able is None:
        _check_text(provider, MAX_NAME, path, "provider")
        known = ", ".join(sorted(capabilities)) or "none"
        raise UnknownProvider(f"there is no provider of this name; known: {known}", path=f"{path}.provider")
    return able


def _check_kind(kind: object, able: Capabilities, path: str) -> None:
    if type(kind) is not Kind:
        problem = f"must be a Kind, not {_type_of(kind)}: build it with Operation.update and its like"
        raise InvalidOperation(problem, path=f"{path}.kind")
    if kind not in able.kinds:
        problem = f"the provider cannot {kind}; it can: {', '.join(sorted(able.kinds)) or 'nothing'}"
        raise UnsupportedOperation(problem, path=f"{path}.kind")


def _check_priority(priority: object, path: str) -> None:
    # A bool is an int to Python, but as a priority it is a mistake.
    if not isinstance(priority, int) or priority is True or priority is False or abs(priority) > MAX_PRIORITY:
        problem = f"must be an int from {-MAX_PRIORITY} to {MAX_PRIORITY}"
        raise InvalidOperation(problem, path=f"{path}.priority")


def _check_rarely_given(operation: Operation, able: Capabilities, path: str) -> None:
    for name, most in _LENGTHS.items():
        text = getattr(operation, name)
        if text is not None:
            _check_text(text, most, path, name)
    for name in _INSTANTS:
        instant = getattr(operation, name)
        if instant is not None:
            _check_instant(instant, f"{path}.{name}")
    if operation.not_before and operation.deadline and operation.deadline <= operation.not_before:
        raise InvalidOperation("must be later than not_before", path=f"{path}.deadline")
    if operation.if_version is not None:
        _check_condition(operation.kind, able, f"{path}.if_version")


def _check_condition(kind: Kind, able: Capabilities, path: str) -> None:
    if kind not in _CONDITIONAL:
        raise InvalidOperation(f"a {kind} cannot depend on a version: leave it out", path=path)
    if able.conditional_write is not ConditionalWrite.STRONG:
        raise UnsupportedOperation("the provider cannot compare versions: leave it out", path=path)


def _check_text(text: object, most: int, path: str, name: str) -> None:
    if type(text) is str and 0 < len(text) <= most and text.isprintable():
        return
    if not isinstance(text, str):
        problem = "is missing" if text is None else f"must be a str, not {_type_of(text)}"
    elif not 0 < len(text) <= most:
        problem = f"must have 1 to {most} characters, not {len(text)}"
    elif any(category(character) == "Cc" for character in text):
        problem = "has a control character"
    elif any(category(character) == "Cs" for character in text):
        problem = "has a lone surrogate, which UTF-8 cannot hold"
    else:
        return
    raise InvalidOperation(problem, path=f"{path}.{name}")


def _check_instant(instant: object, path: str) -> None:
    if not isinstance(instant, datetime):
        problem = f"must be a datetime, not {_type_of(instant)}"
    elif instant.utcoffset() is None:
        problem = "has no time zone: add one, for example datetime(..., tzinfo=UTC)"
    elif not FIRST_YEAR <= instant.year <= LAST_YEAR:
        problem = f"must lie in the years from {FIRST_YEAR} to {LAST_YEAR}"
    else:
        return
    raise InvalidOperation(problem, path=path)


def _type_of(value: object) -> str:
    return f"<{type(value).__name__}>"
