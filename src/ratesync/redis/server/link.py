"""One session at a time, and a new one when it proves to be no good."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from ratesync.redis.server.connect import Connect
from ratesync.redis.server.session import Session
from ratesync.redis.server.wire import Wire

Greet = Callable[[Session], Awaitable[None]]


class LinkDown(Exception):
    """There is no session, so nothing was sent."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def bare(error: Exception) -> Exception:
    """The error that matters: what fails in a client comes wrapped, as its tasks are a group."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


@define(eq=False)
class Link:
    """A session in a task of its own. Once retired, it serves those who use it already, and ends."""

    connect: Connect
    greet: Greet
    """Finds out whether the server can be used."""
    users: int = field(default=0, init=False)
    session: Session | None = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)
    is_retired: bool = field(default=False, init=False)
    _settled: anyio.Event = field(factory=anyio.Event, init=False)
    """The session is there, or cannot be had."""
    _idle: anyio.Event = field(factory=anyio.Event, init=False)

    async def run(self) -> None:
        """Keep the session until it is retired and nobody uses it."""
        try:
            async with self.connect() as session:
                await self.greet(session)
                self.session = session
                self._settled.set()
                await self._idle.wait()
        except Exception as error:  # noqa: BLE001  a connection may fail in any way; who uses it is told
            self.error = bare(error)
        finally:
            self.is_retired = True
            self._settled.set()

    def retire(self) -> None:
        """Serve nobody else."""
        self.is_retired = True
        if not self.users:
            self._idle.set()

    def leave(self) -> None:
        """One user less."""
        self.users -= 1
        if self.is_retired:
            self.retire()

    @asynccontextmanager
    async def use(self) -> AsyncGenerator[Session]:
        """The session.

        :raises LinkDown: it could not be had.
        """
        self.users += 1
        try:
            await self._settled.wait()
            if self.session is None:
                raise LinkDown(self.error or ConnectionError("closed"))
            yield self.session
        finally:
            self.leave()


async def _no_greeting(session: Session) -> None:
    """Who only waits, or asks for permits, need not know whose data there are."""


@define(eq=False)
class Links:
    """The link of the day."""

    connect: Connect
    tasks: TaskGroup
    greet: Greet = _no_greeting
    is_ours: bool = True
    """A client of the host's is kept, whatever happens."""
    used_at: float = field(default=-math.inf, init=False)
    """When the kept connection was last used."""
    _link: Link | None = field(default=None, init=False)

    @property
    def current(self) -> Link:
        """A link that is not retired, as far as is known."""
        if self._link is None or self._link.is_retired:
            self._link = Link(self.connect, self.greet)
            self.tasks.start_soon(self._link.run)
        return self._link

    def suspect(self) -> None:
        """Something happened to the server: greet it again before the next call."""
        if self._link is not None:
            self.replace(self._link)

    @property
    def wired(self) -> tuple[Link, Wire] | None:
        """The link and its connection, if that can be used at once."""
        link = self._link
        if link is None or link.is_retired or link.session is None or (wire := link.session.wire) is None:
            return None
        if not wire.usable:
            link.retire()
            return None
        return link, wire

    def replace(self, link: Link) -> None:
        """That link is no good."""
        if self.is_ours:
            link.retire()

    def close(self) -> None:
        """Nobody asks any more."""
        if self._link is not None:
            self._link.retire()
