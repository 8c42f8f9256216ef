"""What can go wrong between a queue and its Redis, by the numbers of the failure catalogue."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest

from ratesync.clock import SystemClock
from ratesync.errors import EnqueueUncertain, QueueError, QueueFull
from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.stored import Write
from ratesync.redis.errors import KeyClash, NewerLayout, ServerError
from ratesync.redis.queue import watches
from ratesync.redis.queue.packing import tail
from ratesync.redis.queue.shard import Shard
from ratesync.redis.server.lua import Argument
from ratesync.redis.state import RedisStateStore
from ratesync.testing import queue_actions as act
from ratesync.testing.queue_actions import (
    EVERYTHING,
    bury,
    claim,
    complete,
    ended,
    item,
    items,
    names,
    settle,
    submit,
    take,
    take_one,
)
from tests.clocks import ManualClock, SkewedClock
from tests.redis_queue.queues import new_prefix, queue_at
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.valkey_server import Valkey, wait_for

pytestmark = pytest.mark.anyio
MANY = 5000


async def test_case_5_what_a_dead_worker_held_comes_back_in_bounded_steps(shared_valkey: Valkey) -> None:
    """Each step is one script: every operation is leased or queued after each of them."""
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock, lease_seconds=10.0) as queue:
        for start in range(0, MANY, 1000):
            await submit(queue, *(item(f"i{number}") for number in range(start, start + 1000)))
        held = await take(queue, "dead", calls=MANY // 100)
        assert len(held) == MANY
        clock.at += 11
        back: set[str] = set()
        steps = 0
        while len(back) < MANY:
            steps += 1
            found = await claim(queue, "heir", calls=20)
            back.update(names(found).split())
            stats = await queue.stats(EVERYTHING)
            assert stats.pending == MANY
            assert found.next_at == clock.at or len(back) == MANY
            assert steps < 50
        assert steps > 2
        assert list(await queue.settle("dead", [ended(lease) for lease in held[:3]])) == [False] * 3


async def test_cases_6_and_32_a_lost_answer_to_an_enqueue_is_no_loss_and_no_double(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    async with queue_at(cutting_proxy.url, timeout=0.3) as queue:
        await submit(queue, item("before"))
        cutting_proxy.cut_replies()
        await submit(queue, *items("a b c"))
        assert (await queue.stats(EVERYTHING)).available == 4
        assert names(await claim(queue)) == "before a b c"


async def test_case_6_an_enqueue_that_was_not_answered_tells_so_and_may_be_repeated(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    async with queue_at(cutting_proxy.url, timeout=0.3, patience=1.2) as queue:
        await submit(queue, item("before"))
        cutting_proxy.swallow_replies()
        with pytest.raises(EnqueueUncertain) as error:
            await submit(queue, *items("a b"))
        assert error.value.ids == ("a", "b")
        cutting_proxy.heal()
        assert [one.id for one in await submit(queue, *items("a b"))] == ["a", "b"]
        assert names(await claim(queue)) == "before a b"


async def test_case_32_a_lost_answer_to_a_settlement_is_given_again(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    async with queue_at(cutting_proxy.url, timeout=0.3) as queue:
        await submit(queue, *items("a b warm"))
        a, b, warm = await take(queue)
        await complete(queue, [warm])
        cutting_proxy.cut_replies()
        assert list(await queue.settle("worker", [ended(a), ended(b)])) == [True, True]
        assert list(await queue.settle("worker", [ended(a), ended(b)])) == [False, False]


async def test_case_32_a_settlement_that_was_not_answered_in_time_may_be_repeated(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    """It was accepted, so the same again is; another outcome is not, nor is anything after the answer."""
    async with queue_at(cutting_proxy.url, timeout=0.3, patience=1.0) as queue:
        await submit(queue, *items("a b warm"))
        a, b, warm = await take(queue)
        await complete(queue, [warm])
        for lease in (a, b):
            await queue.extend("worker")
            cutting_proxy.swallow_replies()
            with pytest.raises(ServerError) as error:
                await queue.settle("worker", [ended(lease)])
            assert error.value.is_unknown
            cutting_proxy.heal()
        assert await settle(queue, ended(a))
        assert not await settle(queue, ended(a))
        assert not await settle(queue, act.attempted(b))
        assert not await settle(queue, ended(b))
        assert await act.state(queue, "b") is OperationState.COMPLETED


async def test_case_32_what_a_claim_leased_whose_answer_was_lost_is_not_lost(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    """A lease lasts while its worker lives, so the next claim must give it back."""
    async with queue_at(cutting_proxy.url, timeout=0.3, patience=1.2) as queue:
        await claim(queue)
        await submit(queue, *items("a b"), item("c", "x"))
        cutting_proxy.cut_replies()
        taken = await take(queue)
        assert names(taken) == "a b c"
        await act.release(queue, taken)
        cutting_proxy.swallow_replies()
        with pytest.raises(ServerError) as error:
            await claim(queue, "other")
        assert error.value.is_unknown
        cutting_proxy.heal()
        assert names(await claim(queue, "third")) == ""
        again = await take(queue, "other")
        assert [(one.id, one.lapses) for lease in again for one in lease.items] == [("a", 0), ("b", 0), ("c", 0)]
        await complete(queue, again, "other")


async def test_case_32_a_claim_that_arrives_late_after_its_repetition_leases_nothing(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    """The late one is answered to nobody: what it leased would stay leased for as long as the worker lives."""
    async with queue_at(cutting_proxy.url, timeout=0.3) as queue:
        await submit(queue, *items("a1 a2", "a"), item("b"), item("c", lane=act.BOB))
        await claim(queue, providers=["other"])
        cutting_proxy.hold_requests()
        taken = await take(queue, size=1)
        assert names(taken) == "a1 a2 c b"
        await submit(queue, item("new"))
        scripts = valkey.scripts_run()
        cutting_proxy.release_requests()
        await anyio.to_thread.run_sync(wait_for, lambda: valkey.scripts_run() > scripts)
        assert (await queue.stats(EVERYTHING)).leased == 4
        assert names(await claim(queue, "other")) == "new"
        await complete(queue, taken)
        assert names(await claim(queue)) == ""


async def test_case_32_a_claim_that_is_repeated_gets_what_it_leased(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    """In batches no larger than they may be, and the rest with the next claim."""
    async with queue_at(cutting_proxy.url, timeout=0.3) as queue:
        await submit(queue, *items("a1 a2", "a"), *items("b c d e"), item("f", lane=act.BOB))
        await claim(queue, providers=["other"])
        cutting_proxy.cut_replies()
        claimed = await claim(queue, calls=3, size=2)
        assert [names(batch) for batch in claimed.batches] == ["a1 a2 b", "f", "c d"]
        assert claimed.next_at is not None
        assert claimed.next_at <= SystemClock().now(), "there is more"
        assert names(await claim(queue)) == "e"
        await complete(queue, act.leases(claimed))


@pytest.mark.parametrize("by", [3600.0, -3600.0])
async def test_case_36_a_workers_clock_plays_no_part(shared_valkey: Valkey, by: float) -> None:
    prefix = new_prefix()
    async with (
        queue_at(shared_valkey.url, prefix=prefix, clock=SkewedClock(by), lease_seconds=20.0) as skewed,
        queue_at(shared_valkey.url, prefix=prefix, lease_seconds=20.0) as right,
    ):
        await submit(skewed, *items("a b"))
        a, b = await take(skewed, "skewed")
        clock = SkewedClock(by)
        assert names(await claim(right, "other")) == ""
        assert await settle(skewed, act.attempted(a, resume_at=clock.now() + 0.4), "skewed")
        await complete(skewed, [b], "skewed")
        with anyio.fail_after(20):
            while True:
                claimed = await claim(skewed, "skewed")
                if names(claimed):
                    break
                assert claimed.next_at is not None
                assert abs(claimed.next_at - clock.now()) < 60, "an instant of the server's was taken for its own"
                await skewed.wait(claimed.marker, claimed.next_at)
        assert names(claimed) == "a"


async def test_case_37_a_jump_of_the_servers_clock_ends_no_lease_of_the_living(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    expected: float | str = clock.at

    def expects(_: Shard) -> float | str:
        return expected

    monkeypatch.setattr(Shard, "expected", expects)
    async with queue_at(shared_valkey.url, clock=clock, lease_seconds=15.0) as queue:
        await submit(queue, *items("a b"))
        await claim(queue, "alive", calls=1, size=1)
        await claim(queue, "dead", calls=1, size=1)
        clock.at += 7200
        claimed = await claim(queue, "other")
        assert names(claimed) == ""
        assert claimed.next_at == clock.at + 15
        expected = ""
        for _ in range(2):
            clock.at += 5
            await queue.extend("alive")
            assert names(await claim(queue, "other")) == ""
        clock.at += 5
        assert names(await claim(queue, "other")) == "b"


async def test_case_37_after_a_jump_back_a_dead_workers_leases_end_in_time(shared_valkey: Valkey) -> None:
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock, lease_seconds=15.0) as queue:
        await submit(queue, item("a"))
        await take_one(queue, "dead")
        clock.at -= 7200
        assert names(await claim(queue, "other")) == ""
        clock.at += 15
        assert names(await claim(queue, "other")) == "a"


async def test_case_16_an_older_worker_leaves_a_newer_layout_alone(shared_valkey: Valkey) -> None:
    prefix = new_prefix()
    root = f"{prefix}:{{queue/0}}:root"
    async with queue_at(shared_valkey.url, prefix=prefix) as queue:
        await submit(queue, item("a"))
        shared_valkey.command("HSET", root, "layout", "2")
        with pytest.raises(NewerLayout, match="upgrade"):
            await claim(queue)
        with pytest.raises(NewerLayout):
            await submit(queue, item("b"))
        with pytest.raises(NewerLayout):
            async with queue_at(shared_valkey.url, prefix=prefix):
                pass
        shared_valkey.command("HSET", root, "layout", "1")
        assert names(await claim(queue)) == "a"


async def test_case_38_a_key_of_somebody_else_is_told(shared_valkey: Valkey) -> None:
    shared_valkey.command("SET", "clash:{queue/0}:root", "mine")
    with pytest.raises(KeyClash):
        async with queue_at(shared_valkey.url, prefix="clash"):
            pass


async def test_case_22_scripts_are_sent_again_when_the_server_forgot_them(valkey: Valkey) -> None:
    async with queue_at(valkey.url) as queue:
        for name in "abc":
            await submit(queue, item(name))
            valkey.command("SCRIPT", "FLUSH")
            lease = await take_one(queue)
            valkey.command("SCRIPT", "FLUSH")
            await complete(queue, [lease])
        assert (await queue.stats(EVERYTHING)).pending == 0


async def test_case_20_a_restart_with_a_log_goes_on(valkey: Valkey) -> None:
    valkey.kill()
    valkey.append_only = True
    valkey.start()
    async with queue_at(valkey.url) as queue:
        await submit(queue, *items("a b c"))
        a = await take_one(queue)
        woken: list[str] = []

        async def work() -> None:
            await queue.resume(EVERYTHING)
            claimed = await claim(queue, "sleeper", providers=["other"])
            await queue.wait(claimed.marker, None)
            woken.append("sleeper")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await anyio.sleep(0.1)
            valkey.kill()
            valkey.start()
            await complete(queue, [a])
            await submit(queue, item("d"))
        assert woken == ["sleeper"]
        assert names(await claim(queue)) == "b c d"
        assert await act.state(queue, "a") is OperationState.COMPLETED


async def test_case_21_a_restart_without_data_is_survived(valkey: Valkey) -> None:
    """What was queued is gone, as without a log it must be; nobody sleeps for ever, and no old lease counts."""
    async with queue_at(valkey.url) as queue:
        await submit(queue, *items("a b"))
        a = await take_one(queue)
        async with anyio.create_task_group() as tasks:
            claimed = await claim(queue, "sleeper", providers=["other"])
            tasks.start_soon(queue.wait, claimed.marker, None)
            await anyio.sleep(0.1)
            valkey.kill()
            valkey.start()
            assert not await settle(queue, ended(a))
            await submit(queue, item("a"))
        new = await take_one(queue)
        assert new.token > a.token
        assert not await settle(queue, ended(a))
        assert await settle(queue, ended(new))


@pytest.mark.parametrize("what", ["wait", "finished", "drained"])
async def test_case_33_a_failover_that_forgets_who_waits_lets_nobody_wait_for_ever(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(watches, "CHECK", 0.1)
    async with queue_at(valkey.url, prefix="forgetful") as queue:
        await submit(queue, item("a"))
        (lease,) = await take(queue)
        claimed = await claim(queue, "sleeper", providers=["other"])
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                if what == "wait":
                    tasks.start_soon(queue.wait, claimed.marker, None)
                elif what == "finished":
                    tasks.start_soon(queue.finished, "a", None)
                else:
                    tasks.start_soon(queue.drained, EVERYTHING, None)
                await anyio.sleep(0.05)
                valkey.command("HSET", "forgetful:{queue/0}:root", "asleep", "0", "draining", "0")
                valkey.command("DEL", "forgetful:{queue/0}:awaited")
                if what == "wait":
                    await submit(queue, item("b"))
                else:
                    await complete(queue, [lease])


async def test_case_25_a_full_server_takes_nothing_in_and_lets_all_out(valkey: Valkey) -> None:
    async with queue_at(valkey.url, result_seconds=0.05) as queue:
        await bury(queue, item("dead"))
        await submit(queue, *items("old a b c d"), *items("x1 x2", "x"))
        await complete(queue, [await take_one(queue)])
        first = await take_one(queue)
        await anyio.sleep(0.1)  # what frees memory first must not let others in
        valkey.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(QueueFull):
            await submit(queue, item("new"))
        assert await queue.get(["new"]) == [None]
        await queue.extend("worker")
        await complete(queue, [first])
        taken = await take(queue)
        assert names(taken) == "b c d x1 x2"
        assert await settle(queue, act.attempted(taken[0]))
        assert await settle(queue, ended(taken[1], OperationState.DEAD))
        assert list(await queue.cancel(["b"])) == ["cancelled"]
        assert list(await queue.discard(["dead"])) == [True]
        await complete(queue, taken[2:])
        assert (await queue.stats(EVERYTHING)).pending == 0
        valkey.command("CONFIG", "SET", "maxmemory", "0")
        await submit(queue, item("new"))


async def test_case_40_no_answer_is_taken_for_anothers(shared_valkey: Valkey) -> None:
    source = random.Random(40)
    async with queue_at(shared_valkey.url) as queue:
        known = [f"i{number}" for number in range(50)]
        await submit(queue, *(item(name) for name in known))
        answered = 0

        async def ask(name: str, seconds: float) -> None:
            nonlocal answered
            with anyio.move_on_after(seconds):
                (found,) = await queue.get([name])
                assert found is not None
                assert found.id == found.body.decode() == name  # type: ignore[union-attr]
                answered += 1

        for _ in range(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(ask, source.choice(known), source.choice([0.0, 0.001, 0.002, 0.005, 1.0]))
        assert 0 < answered < 300


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_case_41_those_who_contend_never_start_over(valkey: Valkey) -> None:
    """A call is one script, however many others change the same mailbox or value: nothing is watched."""
    async with queue_at(valkey.url) as queue:
        store = RedisStateStore(queue.server)
        await store.open()
        await submit(queue, *items("warm", "k"))
        await complete(queue, await take(queue))
        await store.commit([Write("k", b"")])
        before = valkey.scripts_run()
        made = 0

        async def work(number: int) -> None:
            nonlocal made
            for turn in range(10):
                await submit(queue, *items(f"{number}.{turn} {number}.{turn}b", "k"))
                claimed = await claim(queue, f"w{number}")
                await store.commit([Write("k", b"")])
                made += 3
                for lease in act.leases(claimed):
                    await complete(queue, [lease], f"w{number}")
                    made += 1

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(work, number)
        # Calls to enqueue that come together share a script.
        assert made - 100 < valkey.scripts_run() - before <= made
        assert not {"cmdstat_watch", "cmdstat_multi", "cmdstat_exec"} & set(valkey.info("commandstats"))
        await store.close()


async def commands_of(valkey: Valkey, call: Callable[[], Awaitable[object]]) -> int:
    """How many commands the server carried out for a call, those inside of scripts included."""
    before = calls(valkey)
    await call()
    return calls(valkey) - before


def calls(valkey: Valkey) -> int:
    stats = valkey.info("commandstats")
    return sum(int(value.split(",")[0][6:]) for name, value in stats.items() if name != "cmdstat_info")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_case_42_a_claim_costs_the_same_with_more_queued(valkey: Valkey) -> None:
    async with queue_at(valkey.url) as queue:
        costs: list[int] = []
        for amount in (200, 20_000):
            for start in range(0, amount, 1000):
                new = [item(f"{amount}.{number}") for number in range(start, min(start + 1000, amount))]
                await submit(queue, *new)

            async def work() -> None:
                await complete(queue, await take(queue, calls=1))

            await work()
            costs.append(await commands_of(valkey, work))
        assert costs[1] <= costs[0] + 10


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_case_42_a_replay_costs_the_same_with_more_that_is_due(valkey: Valkey) -> None:
    clock = ManualClock()
    async with queue_at(valkey.url, clock=clock) as queue:
        await bury(queue, *items("dead1 dead2"))
        costs: list[int] = []
        for name, amount in (("dead1", 1000), ("dead2", 10_000)):
            for start in range(0, amount, 1000):
                new = [item(f"{name}.{number}", not_before=clock.at + 1) for number in range(start, start + 1000)]
                await submit(queue, *new)
            clock.at += 2
            costs.append(await commands_of(valkey, partial(queue.replay, [name])))
        assert costs[1] <= costs[0] + 10


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_idle_worker_asks_for_nothing(valkey: Valkey) -> None:
    async with queue_at(valkey.url) as queue:
        claimed = await claim(queue)

        async def rest() -> None:
            await queue.wait(claimed.marker, SystemClock().now() + 0.8)

        assert await commands_of(valkey, rest) <= 12


async def test_a_sign_of_life_from_a_thread_needs_no_event_loop(valkey: Valkey) -> None:
    clock = ManualClock()
    async with queue_at(valkey.url, clock=clock, lease_seconds=15.0) as queue:
        await submit(queue, item("a"))
        await take_one(queue)
        for _ in range(4):
            clock.at += 10
            queue.keep_alive("worker")
        assert names(await claim(queue, "other")) == ""
        valkey.kill()
        with pytest.raises(QueueError, match="no sign of life"):
            queue.keep_alive("worker")
        valkey.start()
        queue.keep_alive("worker")


async def test_a_lease_is_known_by_its_mailbox_too(shared_valkey: Valkey) -> None:
    """A token alone is not enough: after a failover that lost some, it may have been given out again."""
    async with queue_at(shared_valkey.url) as queue:
        await submit(queue, *items("a b"))
        a, _ = await take(queue)
        assert not await settle(queue, ended(a._replace(key="b")))
        assert list(await queue.extend("worker", [a._replace(key="b"), a])) == [False, True]
        assert await settle(queue, ended(a))


async def test_case_17_lanes_leave_nothing_behind_beside_parked_ones(valkey: Valkey) -> None:
    """Those that are parked for long stay, and do not keep the others."""
    clock = ManualClock()
    async with queue_at(valkey.url, prefix="lanes", clock=clock, result_capacity=0) as queue:
        parked = [Lane("acme", f"parked{number}") for number in range(10)]
        for lane in parked:
            await queue.park(lane, clock.at + 1_000_000)
        for number in range(300):
            await submit(queue, item(f"i{number}", lane=Lane("acme", f"c{number}")))
            await complete(queue, [await take_one(queue)])
        assert len(parked) <= valkey.ask("HLEN", "lanes:{queue/0}:lanes") < 50
        assert valkey.ask("HLEN", "lanes:{queue/0}:items") == 0


async def test_case_39_a_script_that_fails_has_changed_nothing(valkey: Valkey) -> None:
    """All that a script is given is looked at before it writes."""
    async with queue_at(valkey.url, prefix="broken") as queue:
        await submit(queue, *items("a b"))
        lease = await take_one(queue)
        shard = Shard(queue.server, SystemClock(), 0)
        limits: list[Argument] = ["10", "10", "10", "10", "60", "", "0", ""]
        whole: list[Argument] = ["acme", "ada", "", "0", "1", b"tx", tail(item("x"))]
        before = valkey.command("DBSIZE"), await queue.stats(EVERYTHING), await queue.get(["a", "b", "x"])
        broken: list[list[Argument]] = [
            [*limits, *whole, "acme", "bob", "", "0", "1", b"ty"],
            [*limits, *whole, "acme", "bob", "", "0", "2", b"ty", tail(item("y"))],
            [*limits, *whole, "acme", "bob", "", "0", "1", b"ty", b"short"],
            [*limits, *whole, "acme"],
        ]
        for args in broken:
            with pytest.raises(ServerError):
                await shard.run("enqueue", *args)
        broken = [
            ["worker", "10", "n1", "acme", "ada", "2", str(lease.token), "a", "4", b"ta", b"done"],
            ["worker", "10", "n2", "acme", "ada", "1", str(lease.token), "a", "g", ""],
        ]
        for args in broken:
            with pytest.raises(ServerError):
                await shard.run("settle", *args)
        assert (valkey.command("DBSIZE"), await queue.stats(EVERYTHING), await queue.get(["a", "b", "x"])) == before
        await complete(queue, [lease])


async def test_a_cancelled_claim_gives_back_at_once_what_it_took(valkey: Valkey, cutting_proxy: CuttingProxy) -> None:
    async with queue_at(cutting_proxy.url, timeout=0.3) as queue:
        await submit(queue, *items("a b"))
        cutting_proxy.delay(0.1)
        with anyio.move_on_after(0.15):
            await claim(queue, "cancelled")
        cutting_proxy.heal()
        with anyio.fail_after(20):
            while (await queue.stats(EVERYTHING)).leased:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert [(one.id, one.lapses, one.sent_as) for lease in await take(queue) for one in lease.items] == [
            ("a", 0, 0),
            ("b", 0, 0),
        ]
