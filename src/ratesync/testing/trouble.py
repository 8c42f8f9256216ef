"""What may go wrong between an adapter and a provider that works, and what an adapter may make of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, RetryLater, Unknown


class Trouble(StrEnum):
    """One way for a call to go wrong. Its answer is an HTTP answer like any other, or none."""

    REFUSED = "refused"
    """No connection: nothing is sent."""
    THROTTLED = "throttled"
    """429 with Retry-After; nothing reaches the provider."""
    UNAVAILABLE = "unavailable"
    """503 with Retry-After; nothing reaches the provider."""
    FAILED = "failed"
    """500; nothing reaches the provider, but nobody can know."""
    INTRUDED = "intruded"
    """200 with a page of HTML by somebody in between; nothing reaches the provider."""
    HIDDEN = "hidden"
    """404 with a page of HTML by somebody in between, whatever was asked for; nothing reaches the provider."""
    REDIRECTED = "redirected"
    """307 to another host; nothing reaches the provider."""
    DELAYED = "delayed"
    """All is well, a little later."""
    LOST = "lost"
    """The provider does it, and the connection breaks before the answer."""
    LATE = "late"
    """The provider does it, and the transport gives up waiting for the answer. Nobody waits, so it is quick."""
    SILENT = "silent"
    """The provider does it, and no answer ever comes: only a deadline of the adapter's own ends the call."""
    TRUNCATED = "truncated"
    """The provider does it, and the connection breaks in the middle of the answer's body."""
    BROKEN = "broken"
    """The provider does it, and 500 comes back."""
    EMPTY = "empty"
    """The provider does it, and the answer's body is missing."""
    GARBLED = "garbled"
    """The provider does it, and the answer's JSON is cut off, under a whole and correct head."""
    MISTYPED = "mistyped"
    """The provider does it, and the answer comes as text that is no JSON."""
    DEEP = "deep"
    """The provider does it, and the answer's JSON is nested 10,000 deep."""
    ENDLESS = "endless"
    """The provider does it, and the answer's body has no end."""
    DECLARED_HUGE = "declared_huge"
    """The provider does it, and the answer's head declares a body of 2 GB, which then has no end."""
    DRIPPING = "dripping"
    """The provider does it, and the answer's body comes byte by byte and has no end: as for SILENT."""
    ROWS_REVERSED = "rows_reversed"
    """All is well; the lists of the answer's JSON come in another order."""
    ROW_MISSING = "row_missing"
    """The provider does it, and each list of the answer lacks its first row."""
    ROW_TWICE = "row_twice"
    """All is well; the first row of each list of the answer comes twice."""
    ROW_STRANGE = "row_strange"
    """All is well; each list of the answer has a row more, of something nobody asked for."""
    ROW_CONTRADICTED = "row_contradicted"
    """The provider does it; before and behind the rows of each list stands the first one with other values, but its
    ids."""


UNSENT = frozenset(
    {
        Trouble.REFUSED,
        Trouble.THROTTLED,
        Trouble.UNAVAILABLE,
        Trouble.FAILED,
        Trouble.INTRUDED,
        Trouble.HIDDEN,
        Trouble.REDIRECTED,
    }
)
"""With these nothing reaches the provider."""

UNENDING = frozenset({Trouble.SILENT, Trouble.DRIPPING})
"""These last until somebody ends the call."""

OF_ROWS = frozenset(
    {
        Trouble.ROWS_REVERSED,
        Trouble.ROW_MISSING,
        Trouble.ROW_TWICE,
        Trouble.ROW_STRANGE,
        Trouble.ROW_CONTRADICTED,
    }
)
"""These are about answers with many rows."""

HARMLESS = frozenset({Trouble.DELAYED}) | OF_ROWS - {Trouble.ROW_MISSING, Trouble.ROW_CONTRADICTED}
"""With these an answer still says what it should."""

_UNCLEAR = (Unknown,)
_UNREADABLE = (Unknown, Applied)

ALLOWED: Mapping[Trouble, tuple[type[Outcome], ...]] = {
    Trouble.REFUSED: (RetryLater,),
    Trouble.THROTTLED: (RetryLater,),
    Trouble.UNAVAILABLE: (RetryLater,),
    Trouble.FAILED: _UNCLEAR,
    Trouble.INTRUDED: (Unknown, RetryLater, Rejected, Conflict),
    Trouble.HIDDEN: (Unknown, RetryLater, Rejected, Conflict),
    Trouble.REDIRECTED: (Unknown, RetryLater, Rejected),
    Trouble.DELAYED: (Applied,),
    Trouble.LOST: _UNCLEAR,
    Trouble.LATE: _UNCLEAR,
    Trouble.SILENT: _UNCLEAR,
    Trouble.TRUNCATED: _UNCLEAR,
    Trouble.BROKEN: _UNCLEAR,
    Trouble.EMPTY: _UNREADABLE,
    Trouble.GARBLED: _UNREADABLE,
    Trouble.MISTYPED: _UNREADABLE,
    Trouble.DEEP: _UNREADABLE,
    Trouble.ENDLESS: _UNCLEAR,
    Trouble.DECLARED_HUGE: _UNCLEAR,
    Trouble.DRIPPING: _UNCLEAR,
    Trouble.ROWS_REVERSED: (Applied,),
    Trouble.ROW_MISSING: _UNREADABLE,
    Trouble.ROW_TWICE: _UNREADABLE,
    Trouble.ROW_STRANGE: _UNREADABLE,
    Trouble.ROW_CONTRADICTED: _UNREADABLE,
}
"""What a write may come to that meets a trouble. A read that failed may be ``RetryLater`` as well."""
