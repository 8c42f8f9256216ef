"""What tasks hand to the writer thread, and how its answers find their way back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio
from anyio.lowlevel import current_token

from ratesync.errors import RateSyncError

S = TypeVar("S")
T = TypeVar("T")

Post = Callable[[Callable[[], object]], object]
"""Runs a function in an event loop, from any thread."""


class Kept(Protocol):
    """What the calls of one transaction share. It is written once, at the end."""

    def close(self) -> object:
        """Write what has changed."""


class Transaction:
    """The transaction under way, as the work in it sees it. Used in the writer thread only."""

    __slots__ = ("after", "db", "kept", "now")

    def __init__(self, db: sqlite3.Connection, now: float) -> None:
        self.db = db
        self.now = now
        """The instant at which everything in it happens."""
        self.kept: dict[object, Kept] = {}
        """By whom it belongs to."""
        self.after: list[Callable[[], object]] = []
        """What to do once it is committed."""

    def close(self) -> None:
        """Write what was kept until now."""
        for kept in self.kept.values():
            kept.close()


Work = Callable[[Transaction], T]
"""Raises a RateSyncError, to refuse what it was asked for, only before it has changed anything."""


class Joint(Generic[S, T]):
    """Work that is done for several calls at once where they come one after the other."""

    __slots__ = ("subject", "together")

    def __init__(self, together: Callable[[Transaction, Sequence[S]], Sequence[T | RateSyncError]], subject: S) -> None:
        self.together = together
        """Answers each subject; an error is a refusal of that one alone."""
        self.subject = subject

    def __call__(self, transaction: Transaction) -> T:
        """Do it for one call."""
        (answer,) = self.together(transaction, [self.subject])
        if isinstance(answer, RateSyncError):
            raise answer
        return answer


def post_here() -> Post:
    """What reaches the running event loop from another thread."""
    token = current_token()
    loop = cast("Any", getattr(token, "native_token", token))  # wrapped since anyio 4.11
    post = getattr(loop, "call_soon_threadsafe", None)
    return cast("Post", loop.run_sync_soon if post is None else post)


def post_quietly(post: Post, function: Callable[[], object]) -> None:
    """Run the function in that loop; not at all if the loop has ended, as nobody waits there then."""
    with suppress(RuntimeError):
        post(function)


class Call(Generic[T]):
    """One piece of work and its answer. Who does not wait for it any more gives it up."""

    __slots__ = ("error", "event", "is_given_up", "joint", "post", "result", "work")

    def __init__(self, work: Work[T], post: Post | None) -> None:
        self.work = work
        self.joint = cast("Joint[Any, T]", work) if isinstance(work, Joint) else None
        self.post = post
        """None if nobody waits for the answer."""
        self.event = None if post is None else anyio.Event()
        self.is_given_up = False
        self.result: T | None = None
        self.error: Exception | None = None

    async def answer(self) -> T:
        """Wait until it is done or refused."""
        try:
            if self.event is not None:
                await self.event.wait()
        except BaseException:
            self.is_given_up = True
            raise
        if self.error is not None:
            raise self.error
        return cast("T", self.result)

    def answered(self) -> None:
        """Tell who waits. Called in their event loop."""
        if self.event is not None:
            self.event.set()
