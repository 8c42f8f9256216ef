"""Errors as Salesforce describes them, of a whole call or of one record of a collection.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm, and the codes:
https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ratesync.http.payload import json_array, json_object
from ratesync.model.operation import Kind
from ratesync.model.outcome import GONE, Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.providers.salesforce.record_id import is_id

LOCKED_FOR = 5.0
"""Seconds to wait for a record that another transaction has locked. Salesforce itself has waited ten by then."""

_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_EXISTING = re.compile(r"record with id: ?([A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?)(?![A-Za-z0-9])")
_MOST_ERRORS = 5
_LONGEST_MESSAGE = 10_000

LOCKED = "UNABLE_TO_LOCK_ROW"
_MISSING = frozenset({"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY"})
_CONFLICTS = frozenset({"DUPLICATE_VALUE", "DUPLICATES_DETECTED", "DUPLICATE_EXTERNAL_ID"})
_UNAUTHORISED = frozenset(
    {
        "API_CURRENTLY_DISABLED",
        "API_DISABLED_FOR_ORG",
        "CLIENT_NOT_ACCESSIBLE_FOR_USER",
        "CLIENT_REQUIRE_UPDATE_FOR_USER",
        "INVALID_AUTH_HEADER",
        "INVALID_LOGIN",
        "INVALID_SESSION_ID",
        "LOGIN_DURING_RESTRICTED_DOMAIN",
        "LOGIN_DURING_RESTRICTED_TIME",
        "ORG_LOCKED",
        "PASSWORD_LOCKOUT",
    }
)
_LATER = frozenset({LOCKED, "SERVER_UNAVAILABLE", "QUERY_TIMEOUT"})
_DOUBTFUL = frozenset({"", "UNKNOWN_EXCEPTION", "REQUEST_RUNNING_TOO_LONG", "GATEWAY_TIMEOUT"})
_NAMING = frozenset({Kind.READ, Kind.UPDATE, Kind.DELETE})
"""Kinds that name a record that is there."""


@frozen
class Problem:
    """One or more errors about one thing. The first one decides."""

    code: str
    """Such as REQUIRED_FIELD_MISSING; "" if there is none."""
    fields: tuple[str, ...] = ()
    """The fields that the first error is about."""
    details: tuple[str, ...] = ()
    """All errors in codes and names of fields, never with a value."""
    is_locked: bool = False
    """Another transaction holds the record; also where a trigger of the org met it."""
    existing: tuple[str, ...] = field(default=(), repr=False)
    """Ids of the records that are in the way."""

    @classmethod
    def read(cls, errors: Any) -> Problem:
        """The errors that a list in an answer describes; an empty one if it describes none."""
        told = [json_object(error) or {} for error in json_array(errors)[:_MOST_ERRORS]]
        if not told:
            return cls("")
        messages = [_text(error.get("message")) for error in told]
        return cls(
            _code(told[0]),
            _fields(told[0]),
            tuple(_detail(error) for error in told),
            any(LOCKED in (_code(error), *_words(message)) for error, message in zip(told, messages, strict=True)),
            tuple(dict.fromkeys(_existing(told[0], messages[0]))),
        )

    @property
    def reason(self) -> str:
        """The errors in few words."""
        return f"Salesforce refused it: {', '.join(self.details) or 'it gave no reason'}"

    @property
    def is_missing(self) -> bool:
        """The record itself is not there, or not shown to this user. With a field, what that refers to is not."""
        return self.code in _MISSING and not self.fields

    def outcome(self, kind: Kind) -> Outcome:
        """What it means for an operation that it is about."""
        if self.is_missing and kind in _NAMING:
            return Applied() if kind is Kind.DELETE else Rejected(self.reason, GONE)
        if self.is_locked or self.code in _LATER:
            return RetryLater(self.reason, Cause.UNAVAILABLE, LOCKED_FOR)
        if self.code == "REQUEST_LIMIT_EXCEEDED":
            return RetryLater(self.reason, Cause.THROTTLED)
        if self.code in _UNAUTHORISED:
            return RetryLater(self.reason, Cause.UNAUTHORISED)
        if self.code in _CONFLICTS:
            return self._conflict(kind)
        return Unknown(self.reason) if self.code in _DOUBTFUL else Rejected(self.reason, self.code)

    def _conflict(self, kind: Kind) -> Conflict:
        """A create's names the record that exists, of which nothing but the id is told."""
        if not self.existing:
            return Conflict(self.reason)
        current = Record(self.existing[0], {}) if kind is Kind.CREATE and len(self.existing) == 1 else None
        return Conflict(f"{self.reason}; in the way: {', '.join(self.existing[:_MOST_ERRORS])}", current)


def _code(error: Mapping[str, Any]) -> str:
    """The code, which rows of collections call ``statusCode`` and all other answers ``errorCode``."""
    code = error.get("statusCode", error.get("errorCode"))
    return code if isinstance(code, str) and _WORD.fullmatch(code) else ""


def _fields(error: Mapping[str, Any]) -> tuple[str, ...]:
    names = json_array(error.get("fields"))[:_MOST_ERRORS]
    return tuple(name for name in names if isinstance(name, str) and _WORD.fullmatch(name))


def _detail(error: Mapping[str, Any]) -> str:
    names = " ".join(_fields(error))
    return f"{_code(error) or 'an error without a code'}{f' ({names})' if names else ''}"


def _existing(error: Mapping[str, Any], message: str) -> Iterator[str]:
    """The ids of records that are in the way: in the message, or in what the duplicate rule found."""
    match = _EXISTING.search(message)
    if match is not None:
        yield match[1]
    # Salesforce spells it without the l in some answers.
    result = json_object(error.get("duplicateResult", error.get("duplicateResut"))) or {}
    for found in _objects(result.get("matchResults")):
        for record in _objects(found.get("matchRecords")):
            identity = (json_object(record.get("record")) or {}).get("Id")
            if isinstance(identity, str) and is_id(identity):
                yield identity


def _objects(value: Any) -> Sequence[Mapping[str, Any]]:
    return [json_object(each) or {} for each in json_array(value)]


def _text(value: Any) -> str:
    return value[:_LONGEST_MESSAGE] if isinstance(value, str) else ""


def _words(message: str) -> list[str]:
    return re.findall(r"[A-Z_]+", message)
