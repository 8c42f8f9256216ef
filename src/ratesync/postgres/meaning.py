"""What an error of the client means: whether to try again, and which of our errors it is."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from ratesync.postgres.connect import client
from ratesync.postgres.errors import (
    AccessRefused,
    SchemaClash,
    ServerAway,
    ServerError,
    ServerFull,
    ServerReadsOnly,
    ServerUnfit,
)

if TYPE_CHECKING:
    import psycopg


class After(Enum):
    """What to do after an error."""

    RETRY = "retry"
    """Ask again, on another connection."""
    GIVE_UP = "give up"
    """Asking again does not help."""


@frozen
class Meaning:
    """What an error means."""

    after: After
    kind: type[ServerError]
    problem: str
    """In words, without anything that the host gave."""


_BY_CODE: dict[str, tuple[After, type[ServerError]]] = {
    "08": (After.RETRY, ServerAway),
    "25006": (After.RETRY, ServerReadsOnly),  # a primary that has become a standby: another one takes its place
    "25P03": (After.RETRY, ServerAway),  # stood still for too long in a transaction
    "28": (After.GIVE_UP, AccessRefused),
    "3D": (After.GIVE_UP, AccessRefused),
    "40": (After.RETRY, ServerAway),  # deadlock, serialization
    "42501": (After.GIVE_UP, AccessRefused),
    "42P07": (After.GIVE_UP, SchemaClash),
    "42": (After.RETRY, SchemaClash),  # a table has gone or changed: the next connection looks at the layout
    "53100": (After.GIVE_UP, ServerFull),
    "53200": (After.GIVE_UP, ServerFull),
    "53": (After.RETRY, ServerAway),  # too many connections
    "54": (After.GIVE_UP, ServerFull),
    "55000": (After.RETRY, ServerReadsOnly),  # in recovery
    "55P03": (After.RETRY, ServerAway),
    "57": (After.RETRY, ServerAway),  # shut down, starting, or the statement took too long
    "58": (After.RETRY, ServerAway),
    "0A": (After.GIVE_UP, ServerUnfit),
}
"""By SQLSTATE, the longest match."""

_REFUSALS = {
    "password authentication failed": "the password is wrong",
    "no password supplied": "a password is needed",
    "no pg_hba.conf entry": "the server lets nobody in from here",
    "does not exist": "there is no such database or user",
    "permission denied": "the user may not connect",
}
_TROUBLES = (
    *("Connection refused", "Connection reset", "connection timeout expired", "timeout expired", "Name or service"),
    *("could not translate host name", "failed to resolve host", "server closed the connection", "starting up"),
    *("shutting down", "recovery mode", "too many clients", "remaining connection slots", "SSL", "No route to host"),
    *("Network is unreachable", "the connection is lost", "the connection is closed", "Broken pipe", "terminating"),
)
"""Words that libpq says when it does not get a connection, or loses one. More of its message may hold what a malformed
URL misplaced: a part of the password."""


def meaning(error: psycopg.Error) -> Meaning:
    """What an error of psycopg means. Nothing of its text is passed on but what the server said, or known words."""
    code = error.sqlstate
    if code is None:
        if isinstance(error, client().OperationalError | client().InterfaceError):
            return _of_connection(str(error))
        return Meaning(After.GIVE_UP, ServerError, type(error).__name__)
    for length in (5, 2):
        if known := _BY_CODE.get(code[:length]):
            return Meaning(*known, f"{code} {error.diag.message_primary or type(error).__name__}")
    return Meaning(After.GIVE_UP, ServerError, f"{code} {type(error).__name__}")


def _of_connection(text: str) -> Meaning:
    for words, reason in _REFUSALS.items():
        if words in text:
            return Meaning(After.GIVE_UP, AccessRefused, reason)
    known = next((words for words in _TROUBLES if words.lower() in text.lower()), "the connection failed")
    return Meaning(After.RETRY, ServerAway, known)
