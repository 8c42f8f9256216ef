"""A server that dies, hangs and comes back; a network that loses what was said."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any

import anyio
import psycopg
import pytest

from ratesync.model.stored import Stored, Write
from ratesync.postgres import PostgresStateStore, ServerAway
from ratesync.postgres.commit import Commit, Writers
from ratesync.postgres.layout import Schema
from ratesync.postgres.statements import Statements
from tests.postgres.stores import happens, impatient, opened
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.postgres_server import Postgres

pytestmark = pytest.mark.anyio

IN_TIME = 15.0


def through(proxy: CuttingProxy, **options: Any) -> AbstractAsyncContextManager[PostgresStateStore]:
    return opened(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres", **options)


def before_the_commit(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Do something once, when a commit has looked and is about to be sent."""
    write = Commit.write
    is_done = False

    def done_first(self: Commit, *given: Any) -> None:
        nonlocal is_done
        if not is_done:
            is_done = True
            do()
        write(self, *given)

    monkeypatch.setattr(Commit, "write", done_first)


async def test_killed_in_mid_commit_a_server_that_comes_back_has_each_commit_once(postgres: Postgres) -> None:
    """What was acknowledged is there, nothing was done twice, and callers wait the outage out."""
    acknowledged = dict.fromkeys("abcdefgh", 0)
    is_over = False

    async def write(store: PostgresStateStore, key: str) -> None:
        while not is_over:
            (revision,) = await store.commit([Write(key, b"%d" % acknowledged[key])])
            acknowledged[key] += 1
            assert revision == acknowledged[key]

    async with opened(postgres.url, timeout=1.0, patience=20.0, connections=8) as store:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for key in acknowledged:
                    tasks.start_soon(write, store, key)
                for _ in range(4):
                    await anyio.sleep(0.15)
                    await anyio.to_thread.run_sync(postgres.kill)
                    await anyio.to_thread.run_sync(postgres.start)
                    before = sum(acknowledged.values())
                    await happens(lambda before=before: sum(acknowledged.values()) > before)  # type: ignore[misc]
                is_over = True
        found = {stored.key: stored.revision for stored in await store.scan("")}
    assert found == acknowledged


async def test_a_commit_whose_answer_is_lost_is_looked_up_and_not_repeated(
    proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with through(proxy) as store:
        await store.commit([Write("gone", b"0")])
        before_the_commit(monkeypatch, proxy.cut_replies)
        assert list(await store.commit([Write("a", b"1", if_revision=0), Write("gone", None)])) == [1, 0]
        assert proxy.replies_swallowed == 1
        assert list(await store.load(["a", "gone"])) == [Stored("a", b"1", 1), None]


async def test_an_answer_that_comes_too_late_for_its_caller_is_not_lost(shared_postgres: Postgres, schema: str) -> None:
    """The thread has it, but its time was up just before. So the next try must find that all is done already."""
    store = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
    await store.open()
    commit = Commit(Statements(Schema(schema)), [Write("a", b"1", if_revision=0)], Writers(Random(1)), 5.0)
    with psycopg.connect(shared_postgres.url, autocommit=True) as connection:
        assert not commit.is_unknown
        for _ in range(3):
            assert list(commit.attempt()(connection)) == [1]
    assert commit.is_unknown
    assert list(await store.load(["a"])) == [Stored("a", b"1", 1)]
    await store.close()


async def test_a_commit_that_never_arrived_is_made_once(proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    async with through(proxy) as store:
        await store.commit([Write("a", b"0")])
        before_the_commit(monkeypatch, proxy.black_hole)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.commit, [Write("a", b"1", if_revision=1)])
            await anyio.sleep(0.5)
            proxy.heal()
        assert list(await store.load(["a"])) == [Stored("a", b"1", 2)]


async def test_of_a_commit_that_is_never_answered_the_fate_is_unknown(
    proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with through(proxy) as store:
        before_the_commit(monkeypatch, proxy.swallow_replies)
        with impatient(store, timeout=0.8), pytest.raises(ServerAway, match="unknown") as error:
            await store.commit([Write("a", b"1")])
        assert error.value.is_unknown
        proxy.heal()
        assert list(await store.load(["a"])) == [Stored("a", b"1", 1)]


async def test_a_network_that_swallows_everything_costs_a_deadline_and_is_left_behind(proxy: CuttingProxy) -> None:
    async with through(proxy) as store:
        proxy.black_hole()
        with anyio.fail_after(IN_TIME), impatient(store):
            with pytest.raises(ServerAway, match="nothing was done") as error:
                await store.commit([Write("a", b"1")])
            with pytest.raises(ServerAway):
                await store.load(["a"])
        assert not error.value.is_unknown
        proxy.heal()
        assert list(await store.load(["a"])) == [None]


async def test_who_is_cancelled_while_nothing_answers_gets_away(proxy: CuttingProxy) -> None:
    async with through(proxy, timeout=0.3) as store:
        proxy.black_hole()
        with anyio.fail_after(IN_TIME):
            with anyio.move_on_after(0.05) as scope:
                await store.commit([Write("a", b"1")])
            assert scope.cancelled_caught
        proxy.heal()
        assert list(await store.load(["a"])) == [None]


@pytest.mark.parametrize("way", ["cut", "slices"])
async def test_connections_that_break_are_made_anew(proxy: CuttingProxy, way: str) -> None:
    async with through(proxy, timeout=3.0) as store:
        if way == "slices":
            proxy.slice(7)
        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(store.commit, [Write(f"k{number}", b"")])
                if way == "cut" and number % 10 == 5:
                    await anyio.sleep(0.01)
                    proxy.cut_all()
        found = await store.scan("k")
        assert [stored.revision for stored in found] == [1] * 30


async def test_an_outage_is_waited_out(proxy: CuttingProxy) -> None:
    async with through(proxy) as store:
        proxy.cut_all(refuse=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.commit, [Write("a", b"1")])
            await anyio.sleep(0.3)
            proxy.heal()
        assert list(await store.load(["a"])) == [Stored("a", b"1", 1)]


async def test_a_server_that_hangs_is_told_and_picked_up_again(postgres: Postgres) -> None:
    async with opened(postgres.url) as store:
        postgres.pause()
        try:
            with anyio.fail_after(IN_TIME), impatient(store), pytest.raises(ServerAway, match="no answer"):
                await store.load(["a"])
        finally:
            postgres.resume()
        assert list(await store.commit([Write("a", b"1")])) == [1]
