"""What an error of the client means: whether to ask again, whether the request may have been carried out."""

from __future__ import annotations

import re
from enum import Enum

from attrs import evolve, frozen

from ratesync.redis.errors import (
    AccessRefused,
    KeyClash,
    NewerLayout,
    NotReplicated,
    ServerError,
    ServerFull,
    ServerReadsOnly,
)
from ratesync.redis.server.link import LinkDown
from ratesync.redis.server.wire import WireDown


class After(Enum):
    """What to do after an error."""

    RETRY = "retry"
    """Ask again on the same connections."""
    RECONNECT = "reconnect"
    """Ask again on new connections."""
    LOAD = "load"
    """Send the script's text."""
    GIVE_UP = "give up"
    """Asking again does not help."""


@frozen
class Meaning:
    """What an error means."""

    after: After
    is_unknown: bool = False
    """The request may have been carried out."""
    kind: type[ServerError] = ServerError
    advice: str = ""


_SURELY_NOT_SENT = ("Unable to establish", "Connection not usable", "max number of clients", "No primary found")
_WAITS = {"LOADING", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "BUSY", "MASTERDOWN", "UNBLOCKED"}
_BY_TYPE = {
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "ClusterError": "MOVED",
    "UnblockedError": "UNBLOCKED",
    "ReadOnlyError": "READONLY",
    "NoScriptError": "NOSCRIPT",
    "WrongTypeError": "WRONGTYPE",
    "AuthenticationFailureError": "WRONGPASS",
    "AuthenticationRequiredError": "NOAUTH",
    "AuthorizationError": "NOPERM",
    "ClusterCrossSlotError": "CROSSSLOT",
}
"""The client takes the code off some errors and makes it a type. ClusterError: it was redirected again and again."""

_FINAL: dict[str, tuple[type[ServerError], str]] = {
    "OOM": (ServerFull, "Redis is out of memory: raise maxmemory, or let the backlog shrink"),
    "MISCONF": (ServerReadsOnly, "Redis cannot save to its disk: make room or repair it"),
    "NOREPLICAS": (NotReplicated, "too few replicas are connected: look at min-replicas-to-write"),
    "LAYOUT": (NewerLayout, "a newer version of ratesync laid its data out: upgrade this process"),
    "WRONGTYPE": (KeyClash, "a key is somebody else's: choose another prefix or database"),
    "WRONGPASS": (AccessRefused, "the name or the password is wrong"),
    "NOAUTH": (AccessRefused, "a password is needed"),
    "NOPERM": (AccessRefused, "the user may not do this: extend its ACL"),
}


_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]+) ").search
"""Redis 6 tells where in a script a command failed, and then with which code."""


def code_of(error: Exception) -> str:
    """The code with which a server's answer begins, such as OOM; empty for a failure of the connection."""
    by_type = _BY_TYPE.get(type(error).__name__)
    if by_type is not None:
        return by_type
    text = str(error)
    in_script = _IN_SCRIPT(text)
    first = in_script[1] if in_script else text.split(" ", 1)[0]
    return first if first.isupper() and first.isalpha() else ""


def meaning(error: Exception) -> Meaning:
    """Judge an error that the client raised for a script."""
    if isinstance(error, LinkDown):
        return evolve(meaning(error.cause), is_unknown=False)
    if isinstance(error, ServerError):
        return Meaning(After.GIVE_UP, kind=type(error))
    return _by_code(code_of(error)) or _by_kind(error)


def _by_code(code: str) -> Meaning | None:
    if code == "NOSCRIPT":
        return Meaning(After.LOAD)
    if code in _WAITS:
        return Meaning(After.RETRY)
    if code == "READONLY":
        return Meaning(After.RECONNECT)
    if code in _FINAL:
        kind, advice = _FINAL[code]
        return Meaning(After.GIVE_UP, kind=kind, advice=advice)
    return None


def _by_kind(error: Exception) -> Meaning:
    if _names(error, "StalePrimaryError", "PrimaryNotFoundError"):
        return Meaning(After.RECONNECT)
    if _names(error, "ReplicationError"):
        return Meaning(After.RETRY, is_unknown=True, kind=NotReplicated, advice="look at the replicas")
    if isinstance(error, WireDown):
        return Meaning(After.RECONNECT, is_unknown=error.is_sent)
    unsent = _names(error, "RedisClusterError") or any(text in str(error) for text in _SURELY_NOT_SENT)
    if not unsent and _names(error, "ResponseError", "ReplyError"):
        return Meaning(After.GIVE_UP)
    return Meaning(After.RECONNECT, is_unknown=not unsent)


def _names(error: Exception, *names: str) -> bool:
    """Whether the error is of a type of that name; the client's own types are not imported for this."""
    return any(kind.__name__ in names for kind in type(error).__mro__)
