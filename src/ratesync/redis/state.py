"""A state store in a Redis."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import anyio.lowlevel

from ratesync.errors import StateConflict
from ratesync.model.stored import Stored, Write
from ratesync.randomness import system_random
from ratesync.redis.server.lua import Argument, Script
from ratesync.redis.server.server import RedisServer

LONGEST_KEY = 512
"""Characters."""

REMEMBERED = 120
"""Seconds for which the answer to a commit is kept, in case it was lost on its way."""


class RedisStateStore:
    """A :class:`~ratesync.protocols.state.StateStore` in a Redis, for any number of processes, on asyncio and trio.

    All values of a prefix live in one slot, so that commits are atomic in a cluster, too. A commit whose answer was
    lost is repeated under the same name and then changes nothing. A new key's revision is above that of every key
    deleted before, so nothing need be remembered of deleted ones.

    Args:
        server: The Redis; a URL, or what other parts use, too.
        random: For the names of commits.
    """

    def __init__(self, server: str | RedisServer, *, random: Random | None = None) -> None:
        self._server = RedisServer.from_url(server) if isinstance(server, str) else server
        self._random = random or system_random()
        self._tag = f"{self._server.prefix}:{{state}}:"

    async def open(self) -> None:
        """Connect.

        :raises ServerError: the Redis cannot be used.
        """
        await self._server.open()

    async def close(self) -> None:
        """Let go of the server; values stay."""
        await self._server.close()

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        """The values, in the order of the keys; None where there is none.

        :raises ServerError: Redis refused, or did not answer in time.
        """
        if not keys:
            await anyio.lowlevel.checkpoint()
            return []
        script = Script.load("state", "layout", "load", is_read=True)
        found: list[bytes | None] = await self._server.run(script, [self._values], keys)
        return [None if value is None else _stored(key, value) for key, value in zip(keys, found, strict=True)]

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        """Make all writes or none; the new revision of each, 0 for a deleted key.

        :raises StateConflict: an ``if_revision`` does not hold; nothing was written.
        :raises ValueError: a key stands in two of the writes, or is not a valid key.
        :raises ServerError: Redis refused, or did not answer in time; its ``is_unknown`` tells whether the writes may
            have been made.
        """
        _check_keys([write.key for write in writes])
        if not writes:
            await anyio.lowlevel.checkpoint()
            return []
        call = f"{self._tag}call:{self._random.getrandbits(96):024x}"
        args: list[Argument] = [REMEMBERED]
        for write in writes:
            asked = "" if write.if_revision is None else write.if_revision
            args += [write.key, asked, int(write.value is not None), bytes(write.value or b"")]
        script = Script.load("state", "layout", "commit")
        keys = [self._values, self._keys, f"{self._tag}deleted", call]
        answer: Any = await self._server.run(script, keys, args)
        if answer[0]:
            return [int(revision) for revision in answer[1:]]
        lost = writes[int(answer[1])]
        raise StateConflict(
            f"key {lost.key!r} has revision {answer[2]}, not {lost.if_revision}. Nothing was written.", key=lost.key
        )

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 100) -> Sequence[Stored]:
        """Values whose keys start with ``prefix``, by key, from behind the key ``after``, at most ``limit``.

        :raises ServerError: Redis refused, or did not answer in time.
        """
        first, last = _bounds(prefix.encode(), None if after is None else after.encode())
        script = Script.load("state", "layout", "scan", is_read=True)
        found: list[bytes] = await self._server.run(script, [self._values, self._keys], [first, last, max(limit, 0)])
        return [_stored(key.decode(), value) for key, value in zip(found[::2], found[1::2], strict=True)]

    @property
    def _values(self) -> str:
        return f"{self._tag}values"

    @property
    def _keys(self) -> str:
        return f"{self._tag}keys"


def _stored(key: str, raw: bytes) -> Stored:
    revision, _, value = raw.partition(b":")
    return Stored(key, value, int(revision))


def _bounds(prefix: bytes, after: bytes | None) -> tuple[bytes, bytes]:
    """The range of keys, as the server takes it. No text in UTF-8 has the byte 0xFF, so it is above all that follow."""
    first = b"[" + prefix if after is None or after < prefix else b"(" + after
    return first, b"(" + prefix + b"\xff"


def _check_keys(keys: Sequence[str]) -> None:
    for key in keys:
        if not 0 < len(key) <= LONGEST_KEY or "\0" in key:
            raise ValueError(f"key {key[:40]!r}: must have 1 to {LONGEST_KEY} characters, none of them NUL")
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r}: stands in two writes of one commit; a key can be written once")
