"""What holds for every key, prefix and commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratesync.errors import StateConflict
from ratesync.model.stored import Stored, Write
from ratesync.postgres import PostgresStateStore
from ratesync.postgres.commit import decide, stripe_of
from ratesync.postgres.layout import STRIPES
from ratesync.postgres.statements import above
from tests.servers.postgres_server import Postgres

_numbers = count()
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
KEYS = st.sampled_from(["a", "a/1", "a/2", "b", "é", "\U0010ffff"])
PLANS = st.lists(
    st.dictionaries(
        KEYS, st.tuples(st.none() | st.binary(max_size=3), st.sampled_from([None, "right", "wrong"])), min_size=1
    ),
    max_size=8,
)
"""Commits: by key the value (None deletes it), and whether the right or a wrong revision is named."""


@given(TEXTS, TEXTS)
def test_what_begins_with_a_prefix_is_between_it_and_its_end(prefix: str, text: str) -> None:
    end = above(prefix)
    is_between = prefix <= text and (end is None or text < end)
    assert is_between == text.startswith(prefix)
    assert prefix <= prefix + text
    assert end is None or prefix + text < end


@given(TEXTS.filter(bool))
def test_each_key_has_one_stripe(key: str) -> None:
    assert 0 <= stripe_of(key) < STRIPES
    assert stripe_of(key) == stripe_of(key)


def test_stripes_are_part_of_the_layout() -> None:
    """Another function, or another number of them, would let processes of two versions lock different rows."""
    assert [stripe_of(key) for key in ("a", "sync/crm/contacts/", "é")] == [67, 33, 62]


@given(st.dictionaries(KEYS, st.integers(1, 9)), st.integers(0, 9))
def test_new_revisions_are_above_old_ones(current: dict[str, int], highest: int) -> None:
    writes = [Write(key, b"") for key in ("a", "b", "é")]
    deleted = {write.key: highest for write in writes}
    for write, revision in zip(writes, decide(writes, current, deleted), strict=True):
        assert revision == current.get(write.key, highest) + 1


class Model:
    """What a store must hold after some commits."""

    def __init__(self) -> None:
        self.held: dict[str, Stored] = {}
        self.used: dict[str, int] = {}
        """The highest revision that each key ever had."""

    def writes(self, plan: dict[str, tuple[bytes | None, str | None]]) -> tuple[list[Write], bool]:
        """The commit, and whether it must succeed."""
        writes: list[Write] = []
        for key, (value, expects) in plan.items():
            now = self.held[key].revision if key in self.held else 0
            named = {None: None, "right": now, "wrong": now + 1}[expects]
            writes.append(Write(key, value, named))
        return writes, all(expects != "wrong" for _, expects in plan.values())

    def done(self, writes: Sequence[Write], revisions: Sequence[int]) -> None:
        for write, revision in zip(writes, revisions, strict=True):
            if write.value is None:
                assert revision == 0
                self.held.pop(write.key, None)
                continue
            if write.key in self.held:
                assert revision == self.held[write.key].revision + 1
            assert revision > self.used.get(write.key, 0), "a revision came twice"
            self.used[write.key] = revision
            self.held[write.key] = Stored(write.key, write.value, revision)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """An event loop that stays, so that the store need not be opened for each example."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def store(portal: BlockingPortal, shared_postgres: Postgres) -> Iterator[PostgresStateStore]:
    store = PostgresStateStore.from_url(shared_postgres.url, schema="laws", timeout=20)
    portal.call(store.open)
    yield store
    portal.call(store.close)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLANS)
def test_any_commits_leave_what_they_should(
    portal: BlockingPortal, store: PostgresStateStore, plans: list[dict[str, tuple[bytes | None, str | None]]]
) -> None:
    home = f"{next(_numbers)}:"

    async def carry_out() -> None:
        model = Model()
        for plan in plans:
            writes, succeeds = model.writes({home + key: part for key, part in plan.items()})
            try:
                model.done(writes, await store.commit(writes))
                is_done = True
            except StateConflict:
                is_done = False
            assert is_done == succeeds
            assert list(await store.scan(home)) == [model.held[key] for key in sorted(model.held)]
        keys = [*model.used, home + "nothing"]
        assert list(await store.load(keys)) == [model.held.get(key) for key in keys]
        with anyio.CancelScope(shield=True):
            await store.commit([Write(key, None) for key in model.held])

    portal.call(carry_out)
