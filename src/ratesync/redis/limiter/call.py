"""A question to the server, asked until it is answered or nobody waits any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import anyio
from attrs import define, field

from ratesync.clock import MINIMUM_DELAY, Clock
from ratesync.redis.errors import ServerAway, ServerError
from ratesync.redis.server.link import Link, LinkDown, Links
from ratesync.redis.server.reply_error import After, Meaning, code_of, meaning
from ratesync.redis.server.session import Session

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two attempts, at most, at first and later. The pause is a random part of it."""


@define(eq=False)
class Call:
    """Runs in a task that no caller's cancellation reaches, so that no answer is taken for another's."""

    name: str
    ask: Callable[[Session], Awaitable[object]]
    until: float
    """An instant: no attempt begins later."""
    longest: float
    """Seconds for one attempt, the connection included."""
    answer: object = field(default=None, init=False)
    is_answered: bool = field(default=False, init=False)
    error: ServerError | None = field(default=None, init=False)
    done: anyio.Event = field(factory=anyio.Event, init=False)
    is_abandoned: bool = field(default=False, init=False)
    is_under_way: bool = field(default=False, init=False)
    """A request may be at the server at this moment."""
    is_unknown: bool = field(default=False, init=False)
    """An earlier attempt may have been carried out."""
    _kind: type[ServerError] = field(default=ServerAway, init=False)
    problem: str = field(default="it has not answered yet", init=False)

    async def perform(self, links: Links, clock: Clock, random: Random) -> None:
        """Ask, again and again."""
        failures = 0
        try:
            while not self.is_abandoned:
                after = await self._attempt(links)
                if after is None:
                    return
                pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 10)))
                failures += 1
                if clock.now() + pause >= self.until:
                    self.error = self.gave_up()
                    return
                await anyio.sleep(max(MINIMUM_DELAY, pause))
        finally:
            if not self.done.is_set():
                self.done.set()

    async def _attempt(self, links: Links) -> Meaning | None:
        """Ask once. None: that is settled."""
        link = links.current

        async def ask() -> object:
            with anyio.fail_after(self.longest):
                async with link.use() as session:
                    self.is_under_way = True
                    return await self.ask(session)

        try:
            self.answer = await ask()
            self.is_answered = True
            return None
        except Exception as error:  # noqa: BLE001  a connection may fail in any way; each has a meaning
            return self.note(error, links, link)
        except BaseException:  # the server is closed; nobody will look at the answer
            self.is_unknown = self.is_unknown or self.is_under_way
            raise
        finally:
            self.is_under_way = False

    def note(self, error: Exception, links: Links, link: Link) -> Meaning | None:
        """An attempt has failed. None: that is settled."""
        found = meaning(error)
        if found.after is After.RECONNECT:
            links.replace(link)
        if found.after is After.GIVE_UP:
            self.error = self._refused(error, found)
            return None
        self.problem, self._kind = described(error), ServerAway if found.kind is ServerError else found.kind
        self.is_unknown = self.is_unknown or found.is_unknown
        return found

    def gave_up(self) -> ServerError:
        """The error of a call that was not answered in time."""
        unknown = self.is_unknown or self.is_under_way
        what = "whether it was carried out is unknown" if unknown else "it was not carried out"
        advice = " Look whether the server runs and can be reached." if self._kind is ServerAway else ""
        return self._kind(f"{self.name}: no success in time ({self.problem}); {what}.{advice}", is_unknown=unknown)

    def _refused(self, error: Exception, found: Meaning) -> ServerError:
        cause = error.cause if isinstance(error, LinkDown) else error
        if isinstance(cause, ServerError):
            return cause
        what = found.advice or "this is a mistake in ratesync or in how the server is set up"
        return found.kind(f"{self.name}: Redis refused ({described(error)}): {what}.", is_unknown=self.is_unknown)


def described(error: Exception) -> str:
    """The kind of an error, with the server's code for it, and nothing of what was sent."""
    cause = getattr(error, "cause", error)
    code = code_of(cause)
    return f"{type(cause).__name__}: {code}" if code else type(cause).__name__
