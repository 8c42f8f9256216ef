"""What can be wrong with a Redis, each with what to do about it."""

from __future__ import annotations

from ratesync.errors import QueueError


class ServerError(QueueError):
    """Redis did not do what was asked, or nobody knows whether it did.

    ``is_unknown`` is True if a request was sent whose answer was lost: it may have been carried out, now or later.
    False means that certainly nothing was done.
    """

    def __init__(self, message: str, *, is_unknown: bool = False) -> None:
        super().__init__(message)
        self.is_unknown = is_unknown


class ServerAway(ServerError):
    """Redis did not answer, was still loading, or had no primary that takes writes, however often it was asked."""


class ServerFull(ServerError):
    """Redis is out of memory and refuses to grow. Give it more, or let the backlog shrink."""


class ServerReadsOnly(ServerError):
    """Redis refuses writes since it cannot save them: its disk is full or broken."""


class AccessRefused(ServerError):
    """The password is wrong or missing, or the user may not do this."""


class KeyClash(ServerError):
    """A key with our prefix holds something of somebody else's. Choose another prefix or database."""


class NotReplicated(ServerError):
    """Too few replicas confirmed a write in time. It stands on the primary, and may be lost if that one dies."""


class NewerLayout(ServerError):
    """The data were laid out by a newer version of ratesync. Upgrade this process."""
