"""What an HTTP status says about an operation (RFC 9110, section 15)."""

from __future__ import annotations

from http import HTTPStatus

from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown

_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_CONFLICT = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})
_OVERLOADED = 529
"""Not registered, but in use: the service is overloaded."""

_LATER = {
    HTTPStatus.UNAUTHORIZED: Cause.UNAUTHORISED,
    HTTPStatus.FORBIDDEN: Cause.UNAUTHORISED,
    HTTPStatus.TOO_EARLY: Cause.UNAVAILABLE,
    HTTPStatus.TOO_MANY_REQUESTS: Cause.THROTTLED,
    HTTPStatus.SERVICE_UNAVAILABLE: Cause.UNAVAILABLE,
    _OVERLOADED: Cause.THROTTLED,
}

_SUCCESS, _REDIRECT, _CLIENT_ERROR = 2, 3, 4


def outcome_for_status(status: int, *, kind: Kind, reason: str, retry_after: float | None) -> Outcome:
    """The outcome of a call that was answered with ``status``.

    ``reason`` explains a failure in words and goes into the outcome; ``retry_after`` is the provider's wish in seconds.
    A success comes back as plain ``Applied()``: ids and records are in the body, which the adapter reads.

    * 2xx, and 304 for a read: applied. 404 and 410 for a delete: applied, as the record is gone.
    * 401 and 403: unauthorised. 429 and 529: throttled. 425 and 503: unavailable.
    * 409 and 412: conflict.
    * 408, 5xx and what is no final HTTP status: unknown, as the provider may have applied it before it failed.
    * Everything else: rejected, with the status as its code.
    """
    cause = _LATER.get(status)
    if cause is not None:
        return RetryLater(reason, cause, retry_after)
    if status in _CONFLICT:
        return Conflict(reason)
    if _is_success(status, kind):
        return Applied()
    if status // 100 in {_REDIRECT, _CLIENT_ERROR} and status != HTTPStatus.REQUEST_TIMEOUT:
        return Rejected(reason, str(int(status)))
    return Unknown(reason)


def _is_success(status: int, kind: Kind) -> bool:
    return (
        status // 100 == _SUCCESS
        or (kind is Kind.DELETE and status in _GONE)
        or (kind is Kind.READ and status == HTTPStatus.NOT_MODIFIED)
    )
