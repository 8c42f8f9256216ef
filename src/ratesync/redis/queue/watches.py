"""Those who wait for a change of a queue, and the task that hears of it from the server."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import anyio
from attrs import define, field

from ratesync.errors import QueueError
from ratesync.model.work import Entry
from ratesync.redis.limiter.home import start_task
from ratesync.redis.queue.packing import entry, packed_id, unpacked_id
from ratesync.redis.queue.shard import Shard

PAUSE = 0.5
"""Seconds until the bell is listened to again, should that fail."""

CHECK = 60.0
"""Seconds of silence after which the server is told again who waits: a failover may have lost it."""

MOST_CHECKED = 1000
"""Operations of which it is told again at a time. The next time, others have their turn."""


class Watch:
    """Somebody who waits."""

    __slots__ = ("_ends", "event")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self._ends: dict[int, tuple[int, Entry]] = {}

    def wake(self) -> None:
        """Something has changed."""
        self.event.set()

    def hear(self, shard: int, rings: int, end: Entry) -> None:
        """The operation that is waited for ended: that was told by the bell of a shard as its ring of that number."""
        self._ends[shard] = rings, end
        self.wake()

    def end(self, behind: Sequence[int]) -> Entry | None:
        """The end that was heard, if it came behind these rings, one of each shard.

        The others were ends of earlier lives: a dead letter that was replayed is waited for again.
        """
        return next((end for shard, (rings, end) in self._ends.items() if rings > behind[shard]), None)

    async def wait(self) -> None:
        """Until something has changed since the last wait."""
        await self.event.wait()
        self.event = anyio.Event()


@define(eq=False)
class _Listener:
    """The task that listens. The next one may begin while it ends."""

    scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    ended: anyio.Event = field(factory=anyio.Event, init=False)
    task: object = field(default=None, init=False)


@define(eq=False)
class Watches:
    """All who wait in this process for changes of one shard. While nobody does, nothing is listened to."""

    shard: Shard
    bell: int = field(default=0, init=False)
    """The highest number of the bell that is known."""
    newest: str = field(default="0-0", init=False)
    _rings: int | None = field(default=None, init=False)
    _all: set[Watch] = field(factory=set[Watch], init=False)
    _by_kind: dict[bytes, set[Watch]] = field(factory=dict[bytes, set[Watch]], init=False)
    _ends: OrderedDict[str, set[Watch]] = field(factory=OrderedDict[str, set[Watch]], init=False)
    """By operation; those first of which the server was not told for the longest time."""
    _wanted: anyio.Event = field(factory=anyio.Event, init=False)
    _starts: int = field(default=0, init=False)
    _listener: _Listener | None = field(default=None, init=False)

    def start(self, newest: str) -> None:
        """Begin to listen as soon as somebody waits. May come before the ``stop`` of an earlier one: then go on."""
        self._starts += 1
        if self._starts > 1:
            return
        self.newest = newest
        self._wanted = anyio.Event()
        self._listener = _Listener()
        self._listener.task = start_task(partial(self._run, self._listener))

    async def stop(self) -> None:
        """Listen no more; who still waits is told of nothing."""
        self._starts -= 1
        if not self._starts and self._listener is not None:
            listener, self._listener = self._listener, None
            listener.scope.cancel()
            with anyio.CancelScope(shield=True):
                await listener.ended.wait()

    @contextmanager
    def watching(self, watch: Watch, kind: bytes, operation_id: str | None = None) -> Generator[None]:
        """Let somebody know of changes of a kind, or of the end of an operation."""
        group = self._by_kind.setdefault(kind, set())
        if operation_id is not None:
            group = self._ends.setdefault(operation_id, set())
        group.add(watch)
        self._all.add(watch)
        self._wanted.set()
        try:
            yield
        finally:
            group.discard(watch)
            self._all.discard(watch)
            if operation_id is not None and not group and self._ends.get(operation_id) is group:
                del self._ends[operation_id]

    def saw(self, bell: int) -> None:
        """An answer told the number of the bell."""
        if bell > self.bell:
            self.bell = bell
            self._wake(self._by_kind.get(b"n", ()))

    async def _run(self, listener: _Listener) -> None:
        try:
            with listener.scope:
                while True:
                    await self._wanted.wait()
                    try:
                        await self._listen()
                    except QueueError:
                        await anyio.sleep(PAUSE)
                        self._wake_all()
        finally:
            listener.ended.set()

    async def _listen(self) -> None:
        if not self._all:
            self._wanted = anyio.Event()
            return
        await self.shard.server.listen(self.shard.bell, self.newest, self.shard.clock.now() + CHECK)
        awaited = [packed_id(name) for name in self._some_awaited()]
        bell, was_draining, ended, *entries = await self.shard.run("hear", self.newest, *awaited)
        for name, fields in entries:
            self._hear(name, dict(zip(fields[::2], fields[1::2], strict=True)))
        number = int(float(bell))
        if number < self.bell:  # the server has lost what it knew
            self.bell = number
            self._wake_all()
        self.saw(number)
        for name in ended:
            self._wake(self._ends.get(unpacked_id(name), ()))
        if not was_draining:
            self._wake(self._by_kind.get(b"d", ()))

    def _some_awaited(self) -> list[str]:
        names = list(islice(self._ends, MOST_CHECKED))
        for name in names:
            self._ends.move_to_end(name)
        return names

    def _hear(self, name: bytes, fields: dict[bytes, Any]) -> None:
        self.newest = name.decode()
        rings = int(float(fields[b"r"]))
        if self._rings is not None and rings != self._rings + 1:  # some were not heard
            self._wake_all()
        self._rings = rings
        kind = fields[b"k"]
        if kind == b"e":
            operation_id = unpacked_id(fields[b"i"])
            end = entry(operation_id, fields[b"p"], fields[b"c"], fields[b"v"])
            for watch in self._ends.get(operation_id, ()):
                watch.hear(self.shard.number, rings, end)
        elif kind == b"n":
            self.saw(int(float(fields[b"b"])))
        else:
            self._wake(self._by_kind.get(kind, ()))

    def _wake_all(self) -> None:
        self._wake(self._all)

    @staticmethod
    def _wake(watches: Iterable[Watch]) -> None:
        for watch in watches:
            watch.wake()
