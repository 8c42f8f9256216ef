"""The task that talks to the server for one provider's quotas, one exchange after the other."""

from __future__ import annotations

import json
import math

import anyio
from attrs import define, field

from ratesync.clock import Clock, timeout_at
from ratesync.errors import LimiterError
from ratesync.redis.limiter.answer import Answer
from ratesync.redis.limiter.asking import next_request
from ratesync.redis.limiter.bell import Bell
from ratesync.redis.limiter.call import described
from ratesync.redis.limiter.exchange import Request
from ratesync.redis.limiter.root import QuotaRoot
from ratesync.redis.limiter.script import exchange_script
from ratesync.redis.server.link import Links
from ratesync.redis.server.reply_error import After, meaning

TRIES = 2
"""Exchanges that must fail one after the other until those who do not wait are told."""

PATIENCE = "nothing has to be done here"

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two tries, at first and at most."""


@define(eq=False)
class Pump:
    """Keeps a root in step with the server."""

    root: QuotaRoot
    clock: Clock
    timeout: float
    """Seconds for one exchange."""
    has_share: bool = False
    """Whether those who wait are served elsewhere while the server does not answer."""
    bell: Bell = field(init=False)
    failures: int = field(default=0, init=False)
    """Exchanges that failed in a row."""
    problem: str = field(default="", init=False)
    advice: str = field(default=PATIENCE, init=False)
    """What is to be done about it."""

    def __attrs_post_init__(self) -> None:
        self.bell = Bell(self.root, self.clock, self.timeout)

    @property
    def is_cut_off(self) -> bool:
        """Whether the server does not answer."""
        return self.failures >= TRIES

    async def run(self, links: Links) -> None:
        """Serve for ever."""
        while True:
            await self._turn(links)

    async def _turn(self, links: Links) -> None:
        root = self.root
        now = self.clock.now()
        ready_at = root.serve_stock(now)
        self.bell.look()
        root.wake = anyio.Event()
        request, look_at = next_request(root, now)
        if request is not None:
            await self.exchange(links, request)
            if self.failures:
                with anyio.move_on_after(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures, 10))):
                    await self._sleep_through()
            return
        until = min(ready_at, look_at)
        with timeout_at(self.clock, None if until == math.inf else until):
            await root.wake.wait()

    async def _sleep_through(self) -> None:
        """While the server does not answer, leased permits are still good for a while."""
        while True:
            ready_at = self.root.serve_stock(self.clock.now())
            with timeout_at(self.clock, None if ready_at == math.inf else ready_at):
                await anyio.sleep_forever()

    async def exchange(self, links: Links, request: Request) -> None:
        """Send a request and apply the answer; a failure is noted, and what was to be told is told again."""
        root, member = self.root, self.root.member
        member.seq += 1
        sent_at = self.clock.now()
        keys, argument = request.wire(root.names, member, root.clock, sent_at)
        link = links.current
        try:
            with anyio.fail_after(self.timeout):
                async with link.use() as session:
                    reply = json.loads(await session.evaluate(exchange_script(), keys, [argument], None))
        except Exception as error:  # noqa: BLE001  whatever the server fails with, the quotas stay closed
            found = meaning(error)
            if found.after is After.RECONNECT:
                links.replace(link)
            self._fail(request, error, found.advice)
            return
        if not Answer(root, request, reply).apply(sent_at, self.clock.now()):
            self._again(request)
        self.failures = 0

    def _again(self, request: Request) -> None:
        now = self.clock.now()
        for bucket in request.buckets:
            self.root.touch(bucket, now)

    def _fail(self, request: Request, error: Exception, advice: str) -> None:
        self.failures += 1
        self.problem, self.advice = described(error), advice or PATIENCE
        self._again(request)
        if self.is_cut_off:
            self.tell_those_who_do_not_wait()
            if self.has_share and self.root.workers and self.failures == TRIES:
                self.root.send_away()

    def break_down(self, error: Exception) -> None:
        """The task that ran this pump broke."""
        self.failures = max(self.failures + 1, TRIES)
        self.problem = type(error).__name__
        self.tell_those_who_do_not_wait()

    def tell_those_who_do_not_wait(self) -> None:
        """Who asks in ``reserve`` or ``snapshot`` gets an error."""
        for probe in self.root.probes:
            probe.error = self.cut_off()
            probe.alarm.set()
        for question in self.root.questions:
            question.error = self.cut_off()
            question.alarm.set()
        self.root.probes.clear()
        self.root.questions.clear()

    def cut_off(self) -> LimiterError:
        """The error for permits that nobody can grant now."""
        return LimiterError(
            f"{self.root.names.provider}: Redis does not answer ({self.problem}), so nothing is granted. "
            f"It is asked again and again; {self.advice}."
        )

    async def leave(self, links: Links) -> None:
        """Return what is leased, and report the rest."""
        root = self.root
        for _ in range(3):
            root.trim(self.clock.now(), all_of_it=True)
            request, _ = next_request(root, self.clock.now())
            if request is None and not root.dirty:
                break
            if request is None:
                root.urgent = True
                continue
            await self.exchange(links, request)
