"""A state store in a PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Self

import anyio
import anyio.lowlevel

from ratesync.clock import Clock, SystemClock
from ratesync.errors import ConfigurationError, StateConflict
from ratesync.model.stored import Stored, Write
from ratesync.postgres.commit import Commit, Writers
from ratesync.postgres.connect import Lender, Source
from ratesync.postgres.layout import Schema, migrate
from ratesync.postgres.pool import Pool
from ratesync.postgres.statements import Statements, above, ask
from ratesync.postgres.work import Simple
from ratesync.randomness import system_random

if TYPE_CHECKING:
    from ratesync.postgres.connect import Connect, Connection

LONGEST_KEY = 512
"""Characters."""

MOST_ROWS = 2**31 - 1


class PostgresStateStore:
    """A :class:`~ratesync.protocols.state.StateStore` in a PostgreSQL, for many processes, on asyncio and trio.

    Commits of different keys do not wait for each other, but for 1 in 256 by chance; those of the same keys follow one
    another. An outage is waited out for ``patience`` seconds. A commit whose answer was lost is looked up, and repeated
    only if it did not happen. A new key's revision is above that of every key of its part that was deleted before, so
    nothing need be remembered of deleted ones.

    Who is cancelled in a call waits until it is carried out or not, at most ``timeout`` seconds.

    Args:
        source: A URL, as for :meth:`from_url`; or what makes connections of psycopg 3, called in worker threads; or a
            pool of the host's with ``getconn`` and ``putconn``, such as a ``psycopg_pool.ConnectionPool``.
        schema: Where the tables are. It is made if it is not there and the user may do that. Default ``"ratesync"``.
        connections: Most connections at once. They are made as needed and kept. Default 4.
        timeout: Seconds for one try of a call. Default 5.
        patience: Seconds for which a call is tried again where trying may help. Default 10.
        clock: Default: the machine's clock.
        random: For pauses and names.

    :raises ConfigurationError: a number or the schema's name cannot be used, or psycopg is not installed.
    """

    def __init__(
        self,
        source: str | Connect | Lender,
        *,
        schema: str = "ratesync",
        connections: int = 4,
        timeout: float = 5.0,
        patience: float = 10.0,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        if connections < 1 or timeout <= 0 or patience < 0:
            raise ConfigurationError("connections must be at least 1, timeout above 0, and patience not negative")
        self._statements = Statements(Schema(schema))
        self._writers = Writers(random := random or system_random())
        self._pool = Pool(
            Source.of(source, timeout),
            partial(migrate, schema=self._statements.schema),
            size=connections,
            timeout=timeout,
            patience=patience,
            clock=clock or SystemClock(),
            random=random,
        )

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        schema: str = "ratesync",
        connections: int = 4,
        timeout: float = 5.0,
        patience: float = 10.0,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> Self:
        """A state store in the PostgreSQL of that URL: ``postgresql://user:password@host:5432/database``.

        All that libpq takes may stand in it, such as ``?sslmode=verify-full`` or several hosts: of these, the one that
        takes writes is used. Characters that mean something in a URL are percent-encoded.

        :raises ConfigurationError: the URL cannot be used. Nothing of it is part of the message.
        """
        return cls(
            url,
            schema=schema,
            connections=connections,
            timeout=timeout,
            patience=patience,
            clock=clock,
            random=random,
        )

    async def open(self) -> None:
        """Connect, and make the tables what this version needs.

        :raises ServerAway: there was no connection within ``patience`` seconds.
        :raises NewerLayout: a newer version of ratesync has laid the tables out.
        :raises SchemaClash: the schema holds other tables of that name.
        :raises ServerError: the server refused.
        """
        await self._pool.open()
        try:
            await self._pool.run(Simple("open", self._forget_writers))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._pool.close()
            raise

    async def close(self) -> None:
        """Let go of connections; values stay."""
        await self._pool.close()

    def _forget_writers(self, connection: Connection) -> None:
        connection.execute(self._statements.forget)

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        """The values, in the order of the keys; None where there is none.

        :raises ServerError: the server refused, or did not answer in time.
        """
        possible = [key for key in set(keys) if "\0" not in key]
        if not possible:
            await anyio.lowlevel.checkpoint()
            return [None] * len(keys)
        found = await self._pool.run(Simple("load", partial(_rows, self._statements.load, [possible])))
        by_key = {stored.key: stored for stored in found}
        return [by_key.get(key) for key in keys]

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        """Make all writes or none; the new revision of each, 0 for a deleted key.

        :raises StateConflict: an ``if_revision`` does not hold; nothing was written.
        :raises ValueError: a key stands in two of the writes, or is not a valid key.
        :raises ServerError: the server refused, or did not answer in time; its ``is_unknown`` tells whether the writes
            may have been made.
        """
        _check_keys([write.key for write in writes])
        if not writes:
            await anyio.lowlevel.checkpoint()
            return []
        commit = Commit(self._statements, writes, self._writers, self._pool.timeout)
        try:
            revisions = await self._pool.run(commit)
        except StateConflict:
            commit.over()
            raise
        commit.over()
        return revisions

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        """Values whose keys start with ``prefix``, by key, from behind the key ``after``, at most ``limit``.

        :raises ServerError: the server refused, or did not answer in time.
        """
        end = above(prefix)
        values = [prefix, after or "", end, end, min(max(limit, 0), MOST_ROWS)]
        return await self._pool.run(Simple("scan", partial(_rows, self._statements.scan, values)))


def _rows(statement: bytes, values: Sequence[object], connection: Connection) -> list[Stored]:
    return [Stored(*row) for row in ask(connection, statement, values).fetchall()]


def _check_keys(keys: Sequence[str]) -> None:
    for key in keys:
        if not 0 < len(key) <= LONGEST_KEY or "\0" in key:
            raise ValueError(f"key {key[:40]!r}: must have 1 to {LONGEST_KEY} characters, none of them NUL")
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r}: stands in two writes of one commit; a key can be written once")
