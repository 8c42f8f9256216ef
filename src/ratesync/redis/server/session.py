"""What is asked of a server: on a connection of our own, or through a client of coredis."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from attrs import frozen

from ratesync.redis.server.lua import Argument, Script, evaluate_on, witnessed
from ratesync.redis.server.resp import ReplyError, unpacked
from ratesync.redis.server.wire import Wire

if TYPE_CHECKING:
    import coredis

Client: TypeAlias = "coredis.Redis[Any] | coredis.RedisCluster[Any]"

ENTRIES = 1000
"""Most entries of a stream that are read at once."""

Entry: TypeAlias = Sequence[Any]
"""An entry of a stream: its id; names and values of its fields in turn. All of it is bytes."""


@frozen
class Replication:
    """Whom a write waits for."""

    replicas: int
    milliseconds: int


class Session(Protocol):
    """A server that was reached, for as long as it can be used."""

    @property
    def wire(self) -> Wire | None:
        """A connection that takes scripts of many tasks at once; None where a client stands in between."""
        ...

    @property
    def is_cluster(self) -> bool:
        """Several servers stand behind it."""
        ...

    async def evaluate(
        self, script: Script, keys: Sequence[str | bytes], args: Sequence[Argument], replication: Replication | None
    ) -> Any:
        """Run a script once, and have what it writes confirmed. Texts in the answer are bytes."""
        ...

    async def new_entries(self, key: str, after: str, seconds: float) -> Sequence[Entry]:
        """A stream's entries behind ``after``, waited for at the server."""
        ...

    async def config(self, names: Sequence[str]) -> dict[str, str]:
        """Settings of the server; those that it does not tell are missing."""
        ...


@frozen
class WireSession:
    """On a connection of our own."""

    wire: Wire
    timeout: float
    """Seconds for an answer."""
    is_cluster: bool = False

    async def evaluate(
        self, script: Script, keys: Sequence[str | bytes], args: Sequence[Argument], replication: Replication | None
    ) -> Any:
        """See :meth:`Session.evaluate`. Nothing can be confirmed: the wait would be one for all who ask."""
        if replication is not None:
            raise ValueError("writes are confirmed on a connection that nobody else uses")
        return await evaluate_on(self.wire, script, keys, args, self.timeout)

    async def new_entries(self, key: str, after: str, seconds: float) -> Sequence[Entry]:
        """See :meth:`Session.new_entries`. Keeps all others waiting who ask here."""
        wait = round(seconds * 1000)
        words: list[Argument] = ["XREAD", "COUNT", ENTRIES, "BLOCK", wait, "STREAMS", key, after]
        found = await self.wire.ask(words, seconds + self.timeout)
        entries: Sequence[Entry] = found[0][1] if found else ()
        return entries

    async def config(self, names: Sequence[str]) -> dict[str, str]:
        """See :meth:`Session.config`."""
        told: dict[str, str] = {}
        try:
            for name in names:
                found = [str(word, "utf-8") for word in await self.wire.ask(["CONFIG", "GET", name], self.timeout)]
                told |= dict(zip(found[::2], found[1::2], strict=True))
        except ReplyError:  # managed servers forbid CONFIG, or do not know it
            return {}
        return told


@frozen
class ClientSession:
    """Through a client of coredis."""

    client: Client
    wire: None = None

    @property
    def is_cluster(self) -> bool:
        """See :attr:`Session.is_cluster`."""
        return hasattr(self.client, "primaries")

    async def evaluate(
        self, script: Script, keys: Sequence[str | bytes], args: Sequence[Argument], replication: Replication | None
    ) -> Any:
        """See :meth:`Session.evaluate`."""
        from coredis.exceptions import NoScriptError

        words = unpacked(args)
        if replication is None:
            confirmed: Any = nullcontext()
        else:
            script = witnessed(script)
            confirmed = self.client.ensure_replication(replication.replicas, replication.milliseconds)
        with confirmed, self.client.decoding(False):
            try:
                return await self.client.evalsha(script.sha1, keys, words)
            except NoScriptError:  # flushed, restarted, or failed over
                return await self.client.eval(script.text, keys, words)

    async def new_entries(self, key: str, after: str, seconds: float) -> Sequence[Entry]:
        """See :meth:`Session.new_entries`."""
        with self.client.decoding(False):
            found: Any = await self.client.xread({key: after}, count=ENTRIES, block=round(seconds * 1000))
        if not found:
            return ()
        ((_, entries),) = found.items()
        return [(entry.identifier, [*chain.from_iterable(entry.field_values.items())]) for entry in entries]

    async def config(self, names: Sequence[str]) -> dict[str, str]:
        """See :meth:`Session.config`. All nodes of a cluster are taken to be set up alike."""
        from coredis.exceptions import ResponseError

        client: Any = self.client
        try:
            if not self.is_cluster:
                return await _config(client, names)
            (node, *_) = client.primaries
            async with node:
                return await _config(node, names)
        except ResponseError:  # managed servers forbid CONFIG, or do not know it
            return {}


async def _config(client: coredis.Redis[Any], names: Sequence[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    with client.decoding(True):
        for name in names:  # Redis takes several at once since version 7
            told |= dict(await client.config_get([name]))
    return told
