"""Errors as HubSpot describes them, of a whole call or of one input of a batch.

https://developers.hubspot.com/docs/api-reference/error-handling: every part of one is optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from ratesync.http.payload import json_array, json_object
from ratesync.model.operation import Kind
from ratesync.model.outcome import GONE, Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record

LOCKED_FOR = 2.0
"""Seconds that HubSpot locks a record type for, as it says."""

_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_EXISTING = re.compile(r"Existing ID: (\d{1,20})")
_MOST_DETAILS = 5

_NOT_FOUND_MESSAGE = "resource not found"
"""All that HubSpot says of some records that are not there."""
_NOT_FOUND = frozenset({"OBJECT_NOT_FOUND", "NOT_FOUND"})
_CONFLICTS = frozenset({"CONFLICT", "OBJECT_ALREADY_EXISTS"})
_LATER = {
    "RATE_LIMITS": (Cause.THROTTLED, None),
    "RATE_LIMIT": (Cause.THROTTLED, None),
    "LOCKED": (Cause.UNAVAILABLE, LOCKED_FOR),
    "OBJECT_LOCKED": (Cause.UNAVAILABLE, LOCKED_FOR),
    "SERVICE_UNAVAILABLE": (Cause.UNAVAILABLE, None),
    "EXPIRED_AUTHENTICATION": (Cause.UNAUTHORISED, None),
    "INVALID_AUTHENTICATION": (Cause.UNAUTHORISED, None),
    "MISSING_SCOPES": (Cause.UNAUTHORISED, None),
}
_DOUBTFUL = frozenset({"", "INTERNAL_ERROR", "TIMEOUT", "UNKNOWN"})


@frozen
class Problem:
    """One error."""

    category: str
    """Such as VALIDATION_ERROR; "" if there is none."""
    details: tuple[str, ...] = ()
    """What is wrong with which property: ``closedate INVALID_DATE``. Names and codes only, never a value."""
    code: str | None = None
    """Of the first detail."""
    ids: frozenset[str] = field(default=frozenset(), repr=False)
    """The records that it is about, as they were named in the request."""
    traces: frozenset[str] = field(default=frozenset(), repr=False)
    """The inputs that it is about, by the ids that we gave them."""
    existing_id: str | None = field(default=None, repr=False)
    """The record that is in the way."""

    @classmethod
    def read(cls, value: Any) -> Problem:
        """The error that an object in an answer describes; an empty one if it is none."""
        error = json_object(value) or {}
        context = json_object(error.get("context")) or {}
        pairs = list(_details(error))
        message = error.get("message")
        existing = _EXISTING.search(message) if isinstance(message, str) else None
        category = _word(error.get("category")) or ""
        if not category and message == _NOT_FOUND_MESSAGE:
            category = "OBJECT_NOT_FOUND"
        return cls(
            category,
            tuple(dict.fromkeys(" ".join(part for part in pair if part) for pair in pairs))[:_MOST_DETAILS],
            next((code for _, code in pairs if code), None),
            frozenset(_texts(context.get("ids"))) | frozenset(_texts(context.get("id"))),
            frozenset(_texts(context.get("objectWriteTraceId"))),
            None if existing is None else existing[1],
        )

    @property
    def is_not_found(self) -> bool:
        """There is no such record."""
        return self.category in _NOT_FOUND

    @property
    def names_nobody(self) -> bool:
        """It does not tell which record or input it is about."""
        return not any(self.ids) and not self.traces

    @property
    def reason(self) -> str:
        """The error in few words, without any value of the record."""
        named = self.category or "an error without a category"
        return f"{named} ({', '.join(self.details)})" if self.details else named

    def outcome(self, kind: Kind) -> Outcome:
        """What it means for an operation that it is about."""
        reason = f"HubSpot refused it: {self.reason}"
        if self.is_not_found:
            return Applied() if kind is Kind.DELETE else Rejected(reason, GONE)
        if self.category in _CONFLICTS:
            return self.conflict(reason, kind)
        if self.category in _LATER:
            cause, wait = _LATER[self.category]
            return RetryLater(reason, cause, wait)
        if self.category in _DOUBTFUL and self.code is None:
            return Unknown(reason)
        return Rejected(reason, self.code or self.category or None)

    def conflict(self, reason: str, kind: Kind) -> Conflict:
        """The conflict that it means; a create's names the record that exists, of which nothing but the id is told."""
        existing = self.existing_id
        if existing is None:
            return Conflict(reason)
        current = Record(existing, {}) if kind is Kind.CREATE else None
        return Conflict(f"{reason}; the record {existing} has that value", current)


def _details(error: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names of properties with the codes of what is wrong with them."""
    for detail in json_array(error.get("errors"))[:_MOST_DETAILS]:
        told = json_object(detail) or {}
        context = json_object(told.get("context")) or {}
        names = _texts(context.get("propertyName")) or _texts(told.get("in"))
        code = _word(told.get("code")) or ""
        for name in names or ([""] if code else []):
            yield _word(name) or "", code
    yield from _invalid(error.get("message"))


_INVALID = re.compile(r'"error":"(?P<code>[A-Z_]{1,64})","name":"(?P<name>[A-Za-z0-9_]{1,64})"')


def _invalid(message: Any) -> Iterator[tuple[str, str]]:
    """The same out of a message, where HubSpot puts a list of them as JSON: all that the errors of batches tell."""
    if isinstance(message, str):
        for match in _INVALID.finditer(message[:_LONGEST_MESSAGE]):
            yield match["name"], match["code"]


_LONGEST_MESSAGE = 10_000


def _texts(value: Any) -> list[str]:
    values = [value] if isinstance(value, str | int) else json_array(value)
    return [str(each) for each in values if isinstance(each, str | int) and not isinstance(each, bool)]


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None
