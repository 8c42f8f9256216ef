"""A script that a server runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Self

from attrs import frozen

from ratesync.redis.server.resp import Argument, ReplyError, Words
from ratesync.redis.server.wire import Wire

__all__ = ["ABSENT", "Argument", "Script", "evaluate_on", "witnessed"]

ABSENT = "absent"
"""The last part of a key that never exists. Scripts that write keys of their slot which they do not declare declare it.

While a cluster moves a slot to another node, its keys are at the one or the other. A script that declares only keys of
which it finds all, or none, is run by that node, which has not the rest. As one key is missing wherever the others are,
both nodes answer TRYAGAIN, until all have moved.
"""


@frozen
class Script:
    """A Lua script, and the name by which a server knows it once it has seen it."""

    name: str
    text: str
    sha1: str
    is_read: bool = False
    """It never writes, so there is nothing to wait for."""

    @classmethod
    def of(cls, name: str, text: str, *, is_read: bool = False) -> Self:
        """A script of that text."""
        return cls(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), is_read)

    @classmethod
    @cache
    def load(cls, folder: str, *parts: str, is_read: bool = False) -> Self:
        """The script of the files ``scripts/<folder>/<part>.lua``, joined in that order and named for the last."""
        place = files("ratesync.redis") / "scripts" / folder
        text = "\n".join((place / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
        return cls.of(f"{folder}/{parts[-1]}", text, is_read=is_read)


WITNESS = "redis.call('PUBLISH', 'ratesync', '')\n"
"""Something that replicas are told even if the script finds that it has run before.

WAIT counts who has all that this connection wrote. To a connection that wrote nothing it says at once that all have it,
although what the first run wrote, on another connection, may not have arrived anywhere.
"""


@cache
def witnessed(script: Script) -> Script:
    """The script as it is to run where replicas are waited for."""
    return Script.of(f"{script.name}, replicated", WITNESS + script.text)


async def evaluate_on(
    wire: Wire, script: Script, keys: Sequence[str | bytes], args: Sequence[Argument], timeout: float
) -> Any:
    """Run a script once, on a connection of our own. Texts in the answer are bytes.

    A third of the work of a client's, and a caller may be cancelled at any point.

    :raises TimeoutError: no answer within so many seconds.
    """
    begin = _begin(b"EVALSHA", script.sha1, *keys)
    try:
        return await wire.ask([begin, *args], timeout)
    except ReplyError as error:  # flushed, restarted, or failed over
        if not str(error).startswith("NOSCRIPT"):
            raise
    return await wire.ask(["EVAL", script.text, len(keys), *keys, *args], timeout)


@lru_cache(maxsize=512)
def _begin(command: bytes, script: str, *keys: str | bytes) -> Words:
    return Words(command, script, len(keys), *keys)
