"""Case 33 of the failure catalogue for a queue: the primary dies, and a replica takes its place."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

import anyio
import anyio.to_thread
import pytest
from attrs import define, field

from ratesync.errors import EnqueueUncertain, QueueError
from ratesync.model.operation import OperationState
from ratesync.model.work import Durability
from ratesync.redis import NotReplicated, RedisQueue, RedisServer
from ratesync.testing.queue_actions import EVERYTHING, claim, complete, ended, item, items, leases, names, submit, take
from tests.servers.valkey_cluster import ValkeyCluster
from tests.servers.valkey_sentinel import WatchedValkey, primary_port
from tests.servers.valkey_server import wait_for

pytestmark = pytest.mark.anyio
IN_TIME = 20.0


@define(eq=False)
class Traffic:
    """What a queue said that it had done, until it failed."""

    queue: RedisQueue
    accepted: list[str] = field(factory=list[str], init=False)
    settled: list[str] = field(factory=list[str], init=False)
    _numbers: count[int] = field(factory=count, init=False)

    async def deliver(self) -> None:
        with suppress(QueueError):
            for number in self._numbers:
                await submit(self.queue, item(f"i{number}", f"k{number % 50}"))
                self.accepted.append(f"i{number}")

    async def work(self, worker: str) -> None:
        with suppress(QueueError):
            while True:
                for lease in leases(await claim(self.queue, worker, calls=1, size=2)):
                    await complete(self.queue, [lease], worker)
                    self.settled.extend(one.id for one in lease.items)


async def test_33_a_queue_in_a_cluster_is_replicated_too(valkey_cluster: ValkeyCluster) -> None:
    """Where its node has a replica; one that stands still confirms nothing."""
    replica = valkey_cluster.add_replica(valkey_cluster.owner("{queue/0}"))
    server = RedisServer.from_url(
        valkey_cluster.url, durability=Durability.REPLICATED, replicas=1, timeout=1, patience=IN_TIME
    )
    queue = RedisQueue(server)
    await queue.open()
    await submit(queue, *items("a b"))
    a, b = await take(queue)
    await complete(queue, [a])
    replica.pause()
    server.patience = 1
    with pytest.raises(EnqueueUncertain):
        await submit(queue, item("c"))
    with pytest.raises(NotReplicated):
        await queue.settle("worker", [ended(b)])
    replica.resume()
    server.patience = IN_TIME
    assert (await submit(queue, item("c")))[0].id == "c"
    await complete(queue, [b])
    assert names(await take(queue)) == "c"
    await queue.close()


async def test_33_what_a_replicated_queue_accepted_survives_a_failover(watched_valkey: WatchedValkey) -> None:
    """Operations and settlements that were confirmed are there; what was leased comes back; all is carried out."""
    url = watched_valkey.url
    server = RedisServer.from_url(url, durability=Durability.REPLICATED, replicas=1, timeout=1, patience=1)
    queue = RedisQueue(server)
    await queue.open()
    traffic = Traffic(queue)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(traffic.deliver)
            tasks.start_soon(traffic.work, f"w{number}")
        while len(traffic.settled) < 20:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        watched_valkey.primary.kill()
    port = watched_valkey.replica.port
    await anyio.to_thread.run_sync(wait_for, lambda: primary_port(watched_valkey.sentinel) == port)
    with pytest.raises(NotReplicated):  # there is no replica any more
        await claim(queue, "w0")
    await queue.close()
    heir = RedisQueue(
        RedisServer.from_url(url, durability=Durability.PROCESS, patience=IN_TIME),
        lease_seconds=0.5,
        result_capacity=1_000_000,
    )
    await heir.open()
    assert None not in await heir.get(traffic.accepted)
    assert {end and end.state for end in await heir.get(traffic.settled)} == {OperationState.COMPLETED}
    with anyio.fail_after(IN_TIME):
        while (await heir.stats(EVERYTHING)).pending:
            await complete(heir, leases(await claim(heir, "heir")), "heir")
            await anyio.sleep(0.05)
    assert {end and end.state for end in await heir.get(traffic.accepted)} == {OperationState.COMPLETED}
    await heir.close()
