"""A connection to one Redis for calls of many tasks: what they ask leaves at once, and answers come in that order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ratesync.redis.server.resp import Argument


class WireDown(Exception):
    """The connection is no good. Where ``is_sent``, what was asked may have been done."""

    def __init__(self, message: str, *, is_sent: bool = True) -> None:
        super().__init__(message)
        self.is_sent = is_sent


class Wire(Protocol):
    """A connection."""

    @property
    def usable(self) -> bool:
        """Whether it is not known to be broken."""
        ...

    async def ask(self, words: Sequence[Argument], seconds: float) -> Any:
        """Send a command, and wait so long for its answer. Texts in it are bytes.

        A caller may be cancelled at any point: its answer is dropped when it comes.

        :raises ReplyError: the server answered with an error.
        :raises TimeoutError: it did not answer in time.
        :raises WireDown: the connection broke, or was broken.
        """
        ...
