"""One Redis for the queue, the state store and the limiter of a process."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, Self

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from attrs import frozen

from ratesync.clock import Clock, SystemClock, timeout_at
from ratesync.errors import ConfigurationError, ForkedProcess, QueueError
from ratesync.model.work import Durability
from ratesync.randomness import system_random
from ratesync.redis.limiter.call import Call
from ratesync.redis.limiter.home import start_task
from ratesync.redis.server.address import Address
from ratesync.redis.server.connect import Connect, connector, lent, place_of
from ratesync.redis.server.link import Links
from ratesync.redis.server.listening import Ears
from ratesync.redis.server.lua import Argument, Script, evaluate_on
from ratesync.redis.server.session import Client, Replication, Session
from ratesync.redis.server.startup import Greeting

ATTEMPT = 3
"""Timeouts that one attempt may take at most: to connect, to be greeted, to be answered."""

CONFIRMATION = 0.5
"""The part of a timeout for which replicas are waited for."""

FAREWELL = 2.0
"""Seconds at most until calls that are under way end when the server is closed."""

TURNS = 20
"""Turns of the event loop in which connections begin to be made: cancelled before, the client would leave them open."""


IDLE = 0.02
"""Seconds without a call after which a connection gets time to find out that it is broken, before it is used."""

LOOKS = 3
"""Turns of the event loop that this takes."""


@frozen
class _Home:
    """What there is while the server is open."""

    links: Links
    ears: Ears
    tasks: TaskGroup


class RedisServer:
    """A Redis or Valkey (6.2 or newer), as all parts of a process use it.

    Calls of many tasks share few connections. Each is made so that cancelling who waits for it ends the waiting and
    nothing else: on a connection past the client, or in a task of its own. Scripts must be idempotent: one whose answer
    was lost is run again.

    Args:
        client: A client of coredis that the host has opened and will close. Its own retries should be off. Default:
            none; use :meth:`from_url`.
        prefix: What all keys begin with.
        durability: What the host asks for, or knows of a server that does not tell. What the server tells is looked at
            on opening, and logged if it is less. ``REPLICATED``: each write is confirmed by replicas before it counts.
        replicas: How many must confirm, with ``REPLICATED``. Default 1.
        timeout: Seconds for one answer. Default 2.
        patience: Seconds for which a call is tried again whose caller names no instant. Default 5.
        clock: Default: the machine's clock.
        random: For pauses between attempts.

    With ``REPLICATED``, the user of an ACL needs the channel ``ratesync``, too.

    Raises:
        ConfigurationError: the prefix is empty or has braces.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        prefix: str = "ratesync",
        durability: Durability | None = None,
        replicas: int = 1,
        timeout: float = 2.0,
        patience: float = 5.0,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        if not prefix or set("{}") & set(prefix):
            raise ConfigurationError(f"the prefix {prefix!r} must have a character, and no braces, which choose a slot")
        self.prefix = prefix
        self.address: Address | None = None
        """Where it is, for those who need a connection of their own; None if a client of the host's does not tell."""
        self.ssl_context: ssl.SSLContext | None = None
        if client is not None and (place := place_of(client)) is not None:
            self.address, self.ssl_context = place
        self._timeout = timeout
        self._replication: Replication | None = None
        if durability is Durability.REPLICATED:
            self._replication = Replication(replicas, round(timeout * CONFIRMATION * 1000))
        self.patience = patience
        """Seconds for which a call is tried again."""
        self._clock = clock or SystemClock()
        self._random = random or system_random()
        self._greeting = Greeting(prefix, "the host's client of Redis", durability, self._random)
        self._connect: tuple[Connect, Connect] | None = None if client is None else (lent(client), lent(client))
        """Make a session for calls, and one for waiting."""
        self._is_ours = client is None
        self._ears_share = True
        """A session lets many wait at the server at the same time."""
        self._home: _Home | None = None
        self._users = 0
        self._process = 0
        self._closing, self._ready, self._closed = anyio.Event(), anyio.Event(), anyio.Event()
        self._closed.set()
        self._calls = 0
        self._idle = anyio.Event()
        self._task: object = None

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        prefix: str = "ratesync",
        durability: Durability | None = None,
        replicas: int = 1,
        timeout: float = 2.0,
        patience: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> Self:
        """A Redis by its URL.

        ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, ``unix:///path?db=0``,
        ``redis+cluster://host:6379,host:6379`` and ``redis+sentinel://host:26379,host:26379/service/0`` (with TLS:
        ``rediss+cluster://``, ``rediss+sentinel://``). Characters that mean something in a URL are percent-encoded.

        :param ssl_context: for TLS. Default: one that trusts the system's authorities, or those in the file that the
            URL's option ``ssl_ca_certs`` names.
        :raises ConfigurationError: the URL cannot be used.
        """
        address = Address.parse(url)
        server = cls(
            prefix=prefix,
            durability=durability,
            replicas=replicas,
            timeout=timeout,
            patience=patience,
            clock=clock,
            random=random,
        )
        server._greeting.name = str(address)
        server.address = address
        server.ssl_context = ssl_context
        confirms = server._replication is not None
        server._connect = (
            connector(address, timeout, ssl_context=ssl_context, confirms=confirms),
            connector(address, timeout, ssl_context=ssl_context, blocks=True),
        )
        server._ears_share = not address.is_one_server
        return server

    @property
    def durability(self) -> Durability:
        """What an accepted write survives, as far as the server tells; known once it is open."""
        return self._greeting.durability

    def place(self, name: str) -> str:
        """Where something went wrong, for an error: what was asked, and of which server."""
        return f"{self._greeting.name}: {name}"

    async def open(self) -> None:
        """Get ready for use. Called once by each part that uses the server. Waits for a ``close`` that is under way.

        :raises ConfigurationError: it has neither a client nor a URL.
        :raises ServerAway: it did not answer within ``patience`` seconds.
        :raises NewerLayout: a newer version of ratesync wrote its data.
        :raises KeyClash: our prefix is somebody else's.
        :raises ServerError: it refused.
        """
        if self._connect is None:
            raise ConfigurationError("give the RedisServer a client of coredis, or make it with RedisServer.from_url")
        await anyio.lowlevel.checkpoint()
        while not (self._users or self._closed.is_set()):  # what was opened before is still ending
            await self._closed.wait()
        self._users += 1
        if self._users == 1:
            self._process = os.getpid()
            self._closing, self._ready, self._closed = anyio.Event(), anyio.Event(), anyio.Event()
            self._task = start_task(partial(self._live, *self._connect))
        try:
            await self._ready.wait()
            await self.ask("open", _nothing)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._leave()
            raise

    async def close(self) -> None:
        """Let go of connections and tasks. Called once for each ``open``."""
        await anyio.lowlevel.checkpoint()
        await self._leave()

    async def _leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._closing.set()
            with anyio.CancelScope(shield=True):
                await self._closed.wait()

    async def run(
        self,
        script: Script,
        keys: Sequence[str | bytes],
        args: Sequence[Argument],
        *,
        until: float | None = None,
    ) -> Any:
        """Run a script, and again until it is answered or ``until`` (an instant; default: in ``patience`` seconds).

        Texts in the answer are bytes. A caller that is cancelled does not know whether the script has run.

        :raises ServerError: Redis refused, or did not answer in time; its ``is_unknown`` tells whether the script may
            have run.
        :raises ForkedProcess: this is a child of the process that opened the server.
        """

        async def ask(session: Session) -> object:
            return await session.evaluate(script, keys, args, None if script.is_read else self._replication)

        await anyio.lowlevel.checkpoint_if_cancelled()
        now = self._clock.now()
        at = now + self.patience if until is None else until
        links = self._at_home().links
        if now - links.used_at > IDLE:
            for _ in range(LOOKS):
                await anyio.lowlevel.checkpoint()
        links.used_at = now
        wired = None if at <= now else links.wired
        if wired is None:
            return await self._ask(Call(self.place(script.name), ask, at, ATTEMPT * self._timeout))
        link, wire = wired
        link.users += 1
        self._calls += 1
        try:
            return await evaluate_on(wire, script, keys, args, min(self._timeout, at - now))
        except Exception as error:  # noqa: BLE001  a connection may fail in any way; each has a meaning
            call = Call(self.place(script.name), ask, at, ATTEMPT * self._timeout)
            call.note(error, links, link)
        finally:  # a caller that is cancelled leaves nothing behind but an answer to drop
            link.leave()
            self._ended()
        return await self._ask(call)

    async def ask(self, name: str, ask: Callable[[Session], Awaitable[object]], *, until: float | None = None) -> Any:
        """Let something be done with a session, as :meth:`run` does with a script. ``name`` is for errors."""
        at = self._clock.now() + self.patience if until is None else until
        return await self._ask(Call(self.place(name), ask, at, ATTEMPT * self._timeout))

    async def _ask(self, call: Call) -> Any:
        await anyio.lowlevel.checkpoint()
        if call.is_unknown and self._home is None:  # it was closed meanwhile
            raise call.gave_up()
        home = self._at_home()
        if call.error is None:
            self.start(partial(call.perform, home.links, self._clock, self._random))
            try:
                with timeout_at(self._clock, call.until):
                    await call.done.wait()
            finally:
                call.is_abandoned = True
        if call.error is not None:
            raise call.error
        if not call.is_answered:
            raise call.gave_up()
        return call.answer

    async def listen(self, key: str, after: str, until: float | None) -> str | None:
        """Wait for an entry of the stream ``key`` behind the id ``after``; the newest id then, None at ``until``.

        All who listen to a stream share one connection, on which the server waits. It is kept for a while after.
        While Redis does not answer, nothing is heard.
        """
        return await self._at_home().ears.listen(key, after, until)

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something in a task that no caller's cancellation reaches; ``close`` waits for it for a while."""
        self._at_home().tasks.start_soon(self._do, work)

    async def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        self._calls += 1
        try:
            await work()
        finally:
            self._ended()

    def _at_home(self) -> _Home:
        if self._process != os.getpid() and self._process:
            raise ForkedProcess(
                "this process was forked from the one that opened the Redis server: make a new server here"
            )
        if self._home is None:
            raise QueueError("the Redis server is not open: await its open() first")
        return self._home

    def _ended(self) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    async def _live(self, connect: Connect, connect_to_wait: Connect) -> None:
        """Give connections and calls a home until the server is closed."""
        try:
            async with anyio.create_task_group() as tasks:
                links = Links(connect, tasks, self._greet, is_ours=self._is_ours)
                line = partial(_line, Links(connect_to_wait, tasks, is_ours=self._is_ours), is_shared=self._ears_share)
                late = ATTEMPT * self._timeout
                ears = Ears(line, tasks, self._clock, self._random, late, links.suspect)
                self._home = _Home(links, ears, tasks)
                self._ready.set()
                await self._closing.wait()
                self._home = None
                if self._calls:
                    self._idle = anyio.Event()
                    with anyio.move_on_after(FAREWELL):
                        await self._idle.wait()
                for _ in range(TURNS):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        finally:
            self._home = self._task = None
            self._closed.set()

    async def _greet(self, session: Session) -> None:
        with anyio.fail_after(ATTEMPT * self._timeout):  # a client of the host's may have no deadline of its own
            await self._greeting.greet(session)


@contextmanager
def _line(shared: Links, *, is_shared: bool) -> Generator[Links]:
    """What an ear listens on: what all share, or the like of it that is its own."""
    links = shared if is_shared else Links(shared.connect, shared.tasks)
    try:
        yield links
    finally:
        if links is not shared:
            links.close()


async def _nothing(session: Session) -> None:
    """A link serves once it has greeted, so that is enough."""
