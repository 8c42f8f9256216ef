"""What can be wrong with a PostgreSQL, each with what to do about it."""

from __future__ import annotations

from ratesync.errors import QueueError


class ServerError(QueueError):
    """PostgreSQL did not do what was asked, or nobody knows whether it did.

    ``is_unknown`` is True if a commit was sent whose answer was lost, and its fate could not be found out: it may have
    been carried out, now or later. False means that certainly nothing was done.
    """

    def __init__(self, message: str, *, is_unknown: bool = False) -> None:
        super().__init__(message)
        self.is_unknown = is_unknown


class ServerAway(ServerError):
    """PostgreSQL did not answer, or all connections were in use, however often it was tried."""


class ServerFull(ServerError):
    """The server's disk or memory is full. Make room; what was committed before is safe."""


class ServerReadsOnly(ServerError):
    """The server takes no writes: it is a standby, or set to read only. Name the primary."""


class AccessRefused(ServerError):
    """The password is wrong or missing, the database is not there, or the user may not do this."""


class SchemaClash(ServerError):
    """The schema holds tables of somebody else with our names. Give another schema."""


class ServerUnfit(ServerError):
    """The server is older than 13, or its database is not encoded in UTF-8."""


class NewerLayout(ServerError):
    """The tables were laid out by a newer version of ratesync. Upgrade this process."""
