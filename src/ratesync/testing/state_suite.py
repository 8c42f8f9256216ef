"""The conformance suite of state stores: each sentence of :class:`ratesync.protocols.StateStore` as a test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel
import pytest

from ratesync.clock import SystemClock
from ratesync.engine.sync.history import Journal, list_runs
from ratesync.engine.sync.keys import Keys
from ratesync.errors import StateConflict
from ratesync.model.run import SyncRun
from ratesync.model.stored import Stored, Write
from ratesync.protocols import StateStore
from ratesync.testing.suite import Suite

BAD_KEYS = ["", "a\0b", "\0", "x" * 513]
GOOD_KEYS = ["a", " ", "x" * 512, "a/b:c*{d}%", "é\u4e2d\U0001f600", "\n", "'; --"]


class StateStoreSuite(Suite):
    """Subclass it and give a fixture ``store`` with a new, empty, open state store.

    ::

        class TestMyStore(StateStoreSuite):
            @pytest.fixture
            async def store(self) -> AsyncIterator[MyStore]: ...
    """

    pytestmark = pytest.mark.anyio

    async def put(self, store: StateStore, **values: bytes) -> Sequence[int]:
        """Write values by key."""
        return await store.commit([Write(key, value) for key, value in values.items()])

    async def scanned(
        self, store: StateStore, prefix: str = "", *, after: str | None = None, limit: int = 1000
    ) -> list[str]:
        """The keys that a scan gives."""
        return [stored.key for stored in await store.scan(prefix, after=after, limit=limit)]

    async def test_it_keeps_the_protocol(self, store: StateStore) -> None:
        assert isinstance(store, StateStore)

    async def test_values_are_loaded_in_the_order_of_the_keys(self, store: StateStore) -> None:
        await self.put(store, a=b"1", b=b"2")
        assert list(await store.load(["b", "nothing", "a", "b"])) == [
            Stored("b", b"2", 1),
            None,
            Stored("a", b"1", 1),
            Stored("b", b"2", 1),
        ]
        assert list(await store.load([])) == []

    @pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256)), b"x" * 1_000_000], ids=len)
    async def test_values_are_any_bytes(self, store: StateStore, value: bytes) -> None:
        await self.put(store, a=value)
        (stored,) = await store.load(["a"])
        assert stored == Stored("a", value, 1)

    @pytest.mark.parametrize("key", GOOD_KEYS, ids=ascii)
    async def test_keys_are_any_text(self, store: StateStore, key: str) -> None:
        await store.commit([Write(key, b"value")])
        assert list(await store.load([key])) == [Stored(key, b"value", 1)]
        assert list(await store.scan(key)) == [Stored(key, b"value", 1)]

    @pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
    async def test_a_bad_key_is_refused_and_nothing_is_written(self, store: StateStore, key: str) -> None:
        with pytest.raises(ValueError, match="key"):
            await store.commit([Write("good", b"1"), Write(key, b"2")])
        with pytest.raises(ValueError, match="key"):
            await store.commit([Write("good", b"1"), Write(key, None)])
        assert await self.scanned(store) == []

    async def test_a_key_stands_in_one_write_of_a_commit(self, store: StateStore) -> None:
        with pytest.raises(ValueError, match="a"):
            await store.commit([Write("a", b"1"), Write("b", b"2"), Write("a", b"3")])
        with pytest.raises(ValueError, match="a"):
            await store.commit([Write("a", None), Write("a", b"3")])
        assert await self.scanned(store) == []

    async def test_revisions_start_at_one_and_grow_with_every_write(self, store: StateStore) -> None:
        assert list(await self.put(store, a=b"1", b=b"1")) == [1, 1]
        assert list(await self.put(store, b=b"2", c=b"1")) == [2, 1]
        assert list(await self.put(store, b=b"2")) == [3], "the same value is a write, too"
        found = await store.load(["a", "b", "c"])
        assert [stored and (stored.value, stored.revision) for stored in found] == [(b"1", 1), (b"2", 3), (b"1", 1)]

    async def test_committing_nothing_is_no_mistake(self, store: StateStore) -> None:
        assert list(await store.commit([])) == []

    async def test_a_deleted_key_is_gone(self, store: StateStore) -> None:
        await self.put(store, a=b"1", b=b"1")
        assert list(await store.commit([Write("a", None), Write("nothing", None)])) == [0, 0]
        assert list(await store.load(["a"])) == [None]
        assert await self.scanned(store) == ["b"]

    async def test_no_revision_is_used_twice_for_a_key(self, store: StateStore) -> None:
        seen = list(await self.put(store, a=b"1"))
        for _ in range(3):
            seen += await self.put(store, a=b"2")
            await store.commit([Write("a", None)])
            await store.commit([Write("b", b"1"), Write("b2", b"1")])
            await store.commit([Write("b", None)])
            seen += await self.put(store, a=b"3")
        assert seen == sorted(set(seen))

    async def test_a_write_may_depend_on_the_revision(self, store: StateStore) -> None:
        assert list(await store.commit([Write("a", b"1", if_revision=0)])) == [1]
        assert list(await store.commit([Write("a", b"2", if_revision=1)])) == [2]
        assert list(await store.commit([Write("a", None, if_revision=2)])) == [0]
        assert (await store.commit([Write("a", b"3", if_revision=0)]))[0] > 2

    @pytest.mark.parametrize("revision", [0, 1, 3])
    @pytest.mark.parametrize("value", [b"new", None], ids=["write", "delete"])
    async def test_another_revision_is_a_conflict_and_nothing_is_written(
        self, store: StateStore, revision: int, value: bytes | None
    ) -> None:
        await self.put(store, a=b"1")
        await self.put(store, a=b"2", b=b"1")
        with pytest.raises(StateConflict) as error:
            await store.commit([Write("b", b"2"), Write("a", value, if_revision=revision), Write("c", b"1")])
        assert error.value.key == "a"
        assert list(await store.scan("")) == [Stored("a", b"2", 2), Stored("b", b"1", 1)]

    async def test_a_missing_key_has_revision_0_only(self, store: StateStore) -> None:
        with pytest.raises(StateConflict):
            await store.commit([Write("a", b"1", if_revision=1)])
        assert list(await store.commit([Write("a", None, if_revision=0)])) == [0]
        assert list(await store.load(["a"])) == [None]

    async def test_a_scan_is_in_the_order_of_the_keys(self, store: StateStore) -> None:
        keys = ["b", "a2", "a1", "a10", "a", "B", "é", "a/b", "\uffff", "\U0001f600", "zz"]
        await store.commit([Write(key, b"") for key in keys])
        assert await self.scanned(store) == sorted(keys)
        assert await self.scanned(store, "a") == ["a", "a/b", "a1", "a10", "a2"]
        assert await self.scanned(store, "a1") == ["a1", "a10"]
        assert await self.scanned(store, "nothing") == []

    async def test_a_prefix_is_plain_text(self, store: StateStore) -> None:
        await self.put(store, ab=b"", aXb=b"")
        await store.commit([Write(key, b"") for key in ("a*b", "a?b", "a%b", "a_b", "a[X]b", "a\\b")])
        for prefix in ("a*", "a?", "a%", "a_", "a[X]", "a\\"):
            assert await self.scanned(store, prefix) == [f"{prefix}b"]

    async def test_a_scan_goes_on_from_behind_a_key(self, store: StateStore) -> None:
        """Also if that key is not there, so that a store can be paged through while it changes."""
        await store.commit([Write(f"k{number}", b"") for number in range(10)])
        await store.commit([Write("other", b"")])
        pages: list[str] = []
        after = None
        while page := await self.scanned(store, "k", after=after, limit=3):
            assert len(page) <= 3
            pages += page
            after = page[-1]
            await store.commit([Write(after, None)])
        assert pages == [f"k{number}" for number in range(10)]
        assert await self.scanned(store, "k", after="zzz") == []
        assert await self.scanned(store, "k", after="a", limit=1) == ["k0"]
        assert await self.scanned(store, "k", limit=0) == []

    async def test_of_many_who_compare_and_set_one_wins(self, store: StateStore) -> None:
        await self.put(store, counter=b"0")
        tries = 0

        async def count_up() -> None:
            nonlocal tries
            while True:
                (stored,) = await store.load(["counter"])
                assert stored is not None
                await anyio.lowlevel.checkpoint()
                tries += 1
                try:
                    value = b"%d" % (int(stored.value) + 1)
                    await store.commit([Write("counter", value, if_revision=stored.revision)])
                except StateConflict:
                    continue
                return

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(count_up)
        (stored,) = await store.load(["counter"])
        assert stored == Stored("counter", b"20", 21)
        assert tries > 20, "nobody met anybody, so nothing was tested"

    async def test_readers_see_all_of_a_commit_or_nothing(self, store: StateStore) -> None:
        keys = [f"k{number}" for number in range(20)]
        await store.commit([Write(key, b"0") for key in keys])
        done = False

        async def write() -> None:
            nonlocal done
            for number in range(50):
                await store.commit([Write(key, b"%d" % number) for key in keys])
            done = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            while not done:
                assert len({stored and stored.value for stored in await store.load(keys)}) == 1
                assert len({stored.revision for stored in await store.scan("k")}) == 1

    async def test_values_stay_when_it_is_closed(self, store: StateStore) -> None:
        await self.put(store, a=b"1")
        await store.open()
        await store.close()
        await store.close()
        await store.open()
        assert list(await store.load(["a"])) == [Stored("a", b"1", 1)]

    @pytest.mark.parametrize("method", ["open", "close", "load", "commit", "scan"])
    async def test_a_cancelled_method_has_done_nothing(self, store: StateStore, method: str) -> None:
        await self.put(store, a=b"1")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "open": store.open,
            "close": store.close,
            "load": lambda: store.load(["a"]),
            "commit": lambda: store.commit([Write("a", b"2"), Write("b", b"1")]),
            "scan": lambda: store.scan("a"),
        }
        with anyio.CancelScope() as scope:
            scope.cancel()
            await calls[method]()
        assert scope.cancelled_caught, f"{method} did not await"
        assert list(await store.scan("")) == [Stored("a", b"1", 1)]

    async def test_a_cancelled_commit_writes_all_or_nothing(self, store: StateStore) -> None:
        for step in range(20):
            keys = [f"{step}{letter}" for letter in "abc"]
            with anyio.CancelScope() as scope:
                scope.deadline = anyio.current_time() + 0.0005 * step  # noqa: TID251 - the scope's own time
                await store.commit([Write(key, b"") for key in keys])
            assert await self.scanned(store, f"{step}") in ([], keys)
            await store.commit([Write(key, None) for key in keys])

    async def test_a_history_of_passes_keeps_the_newest(self, store: StateStore) -> None:
        keys, clock = Keys.of("acme", "default", "contacts"), SystemClock()
        for number in range(1, 8):
            run = SyncRun(f"run{number}", float(number))
            await Journal(store, keys, run, clock, 5).commit([Write(f"link{number}", b"value")])
        found = await list_runs(store, keys, limit=3, before=None)
        assert [(run.number, run.run_id) for run in found] == [(7, "run7"), (6, "run6"), (5, "run5")]
        found = await list_runs(store, keys, limit=3, before=5)
        assert [run.number for run in found] == [4, 3]
        assert await self.scanned(store, "link") == [f"link{number}" for number in range(1, 8)]
