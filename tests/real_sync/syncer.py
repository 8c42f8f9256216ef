"""A process that syncs: ``python -m tests.real_sync.syncer``.

Each line of its input is a task in JSON, with the place of everything. It forks processes that carry the task out,
tells their ids, and then what became of it: so that each life is a process of its own, which a kill -9 ends, and none
has to import anything.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import anyio
from attrs import define, frozen

from ratesync import Durability, LeakyBucket, Rate, Settings, SyncEngine
from ratesync.clock import SystemClock
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.case import Case
from ratesync.http import Account, Basic
from ratesync.memory import MemoryLimiter, MemoryQueue
from ratesync.model.difference import Side
from ratesync.model.sync_settings import SyncSettings
from ratesync.protocols import Limiter, StateStore
from ratesync.providers.kinto import KintoProvider
from ratesync.redis import RedisLimiter, RedisServer, RedisStateStore
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.resolvers import prefer
from ratesync.sqlite import SqliteStateStore
from tests.real_sync.app import records
from tests.real_sync.collection import MAPPING
from tests.servers.kinto_server import Kinto

T = TypeVar("T")

ALL_DELETES = DeletePolicy(max_deletes=10**6, max_delete_ratio=1.0, refuse_if_side_empty=False, min_listing_ratio=0.0)
OF_A_STORE = ("load", "commit", "scan")
OF_A_TABLE = ("changes", "read", "find", "apply", "delete")
OF_A_PROVIDER = ("execute", "pull_changes", "list_records", "find", "lookup")
CALL_TIMEOUT = 2.0


class LateClock(SystemClock):
    """The machine's clock, moved on: what a process that died has leased is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._offset += seconds


@define
class Reaper:
    """Kills this process with -9 at its ``fatal``-th boundary, which is before or after a call; 0: at none."""

    fatal: int
    passed: int = 0

    def watch(self, thing: T, calls: Iterable[str]) -> T:
        """The same thing, with a boundary before and after each of the calls."""
        for name in calls:
            if hasattr(thing, name):
                setattr(thing, name, self._watched(getattr(thing, name)))
        return thing

    def _watched(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(call)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            self._boundary()
            answer = await call(*args, **kwargs)
            self._boundary()
            return answer

        return watched

    def _boundary(self) -> None:
        self.passed += 1
        if self.passed == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)


@frozen
class Place:
    """Where everything is."""

    url: str
    resource: str
    app: str
    """Path of a SQLite file."""
    state: str
    """Path of a SQLite file, or URL of a Redis."""

    def store(self) -> StateStore:
        """The state store."""
        if self.state.startswith("redis:"):
            # In one of the tests the Redis keeps nothing on the disk, and nobody kills it there.
            return RedisStateStore(
                RedisServer.from_url(self.state, prefix=self.resource, durability=Durability.PROCESS)
            )
        return SqliteStateStore(self.state)

    def limiter(self, *, is_shared: bool) -> Limiter:
        """The quotas of this process, or of all that share the Redis."""
        return (
            RedisLimiter(self.state, prefix=f"{self.resource}:", timeout=5.0)
            if is_shared
            else MemoryLimiter(cold_start=False)
        )


async def live(
    place: Place, *, fatal: int, later: float, passes: int, bucket: tuple[int, float] | None = None
) -> dict[str, Any]:
    """Make passes, and tell of the last one.

    :param bucket: calls that may be made at once, and calls a second, for all processes together; None: each may make
        400 a second.
    """
    reaper = Reaper(fatal)
    account = Account(Basic(*Kinto(url=place.url).auth))
    clock = LateClock(later)
    async with (
        KintoProvider(place.url, account, bucket="crm", timeout=CALL_TIMEOUT) as kinto,
        SyncEngine(
            queue=MemoryQueue(),
            limiter=place.limiter(is_shared=bucket is not None),
            state=reaper.watch(place.store(), OF_A_STORE),
            providers=[reaper.watch(kinto, OF_A_PROVIDER)],
            quotas={"kinto": [Rate(400, per=1) if bucket is None else LeakyBucket(bucket[0], restore=bucket[1])]},
            role="submit",
            settings=Settings(
                call_timeout=CALL_TIMEOUT, sync=SyncSettings(page_size=5, chunk=4, lease=9.0, margin=3.0)
            ),
            clock=clock,
        ) as engine,
    ):
        local = reaper.watch(records(Path(place.app)), OF_A_TABLE)
        binding = Binding(
            local=local,
            provider="kinto",
            resource=place.resource,
            mapping=MAPPING,
            resolve=prefer(Side.EXTERNAL),
            guard=ALL_DELETES,
        )
        told: dict[str, Any] = {}
        for number in range(passes):
            await anyio.sleep(0.05 * random.random() if number else 0)
            cases: list[Case] = []
            run = await engine.syncs.sync(binding, note=cases.append)
            told = {"actions": run.actions, "left": run.left, "held": run.held, "errors": run.errors}
            told["reasons"] = [case.reason for case in cases if case.reason]
        told["dropped"] = [loser.value async for dropped in engine.syncs.dropped(binding) for loser in dropped.losers]
        return told | {"boundaries": reaper.passed}


def main() -> None:
    """Carry tasks out, one after the other; one for ``processes`` > 1 by so many at once, who tell nothing."""
    for line in sys.stdin:
        task = json.loads(line)
        number, place = task.pop("processes"), Place(**task.pop("place"))
        children = [begin(place, task, tells=number == 1) for _ in range(number)]
        say(children)
        ends = [os.waitpid(child, 0)[1] for child in children]
        if any(os.waitstatus_to_exitcode(end) > 0 for end in ends):
            raise SystemExit("a pass failed")
        if number > 1 or os.WIFSIGNALED(ends[0]):
            say({"killed": sum(map(os.WIFSIGNALED, ends))})


def begin(place: Place, task: Mapping[str, Any], *, tells: bool) -> int:
    """Fork a process for the task; its id."""
    child = os.fork()
    if child == 0:
        told = anyio.run(partial(live, place, **task))
        if tells:
            say(told)
        os._exit(0)
    return child


def say(what: object) -> None:
    """Tell it, in a line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
