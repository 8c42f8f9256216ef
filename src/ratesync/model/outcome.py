"""What an attempt came to."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from ratesync.model.record import Record

GONE = "404"
"""Code of the rejection of an operation on a record that is not there, whatever the provider calls it."""
GONE_CODES = frozenset({GONE, "410"})
"""Codes by which it is known that a record is not there: a sync takes it for deleted."""
NO_SUCH_PAGE = "no_such_page"
"""Code of the rejection of a call by whoever stood at its address, and said nothing of a record."""


class Cause(StrEnum):
    """Why an attempt should be made again later."""

    THROTTLED = "throttled"
    """The provider asked to slow down: the lane waits, no attempt is counted."""
    UNAVAILABLE = "unavailable"
    """The provider answered that it cannot serve now (503): not applied, and not this operation's fault."""
    NOT_SENT = "not_sent"
    """The request did not reach the provider: surely not applied, and not this operation's fault."""
    UNTRUSTED = "untrusted"
    """Who answered could not prove to be the provider (TLS): surely not applied, the lane waits, no attempt is
    counted."""
    UNAUTHORISED = "unauthorised"
    """The credentials were refused: the lane is paused until the host resumes it, no attempt is counted."""


@frozen
class Applied:
    """The provider carried the operation out."""

    record_id: str | None = None
    """The record's id at the provider, where it assigned one."""
    version: str | None = None
    """The record's new version, where the provider told it."""
    record: Record | None = None
    """The record, for a read, or after a write where the provider answered with it."""


@frozen
class Conflict:
    """The record is not in the state that the operation expected (409, 412): nothing was applied."""

    reason: str
    current: Record | None = None
    """What the provider holds, where it told it."""


@frozen
class RetryLater:
    """The attempt failed in a way that may pass."""

    reason: str
    cause: Cause = Cause.UNAVAILABLE
    retry_after: float | None = None
    """Seconds to wait as the provider asked, or None if it named none."""


@frozen
class Rejected:
    """The provider refuses the operation and will refuse it again: it is wrong as it stands."""

    reason: str
    code: str | None = None
    """The provider's own error code, where it gave one; :data:`GONE` where the record is not there."""


@frozen
class Unknown:
    """Sent, but no clear answer came (lost, late, HTTP 500): whether it was applied is not known."""

    reason: str


Outcome = Applied | Conflict | RetryLater | Rejected | Unknown
