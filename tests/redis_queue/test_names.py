"""Case 72 of the failure catalogue: names with characters that mean something in keys, in slots, in patterns or in Lua.

Whatever they are made of, names that differ have keys that differ, and all keys of a part stay in its slot.
"""

from __future__ import annotations

import re
from itertools import permutations, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.lane import Lane, Selector
from ratesync.model.quota import Concurrency, Demand, Rate, Scope
from ratesync.model.stored import Write
from ratesync.model.work import Durability
from ratesync.redis import RedisLimiter, RedisQueue, RedisServer, RedisStateStore
from ratesync.redis.limiter.names import KeyNames
from ratesync.testing.limiter_callers import granted, refused
from ratesync.testing.queue_actions import EVERYTHING, claim, complete, ended, item, leases, only, settle, submit, take
from tests.redis_queue.queues import new_prefix
from tests.servers.valkey_cluster import slot_of
from tests.servers.valkey_server import Valkey

DOCUMENTATION = Path(__file__).parents[2] / "docs/reference/redis-keys.md"
NASTY = [
    "a",
    "a:b",
    "b",
    ":",
    "{b}",
    "}{",
    "{",
    "*",
    "a\0b",
    "\0",
    "%7B",
    "'..KEYS[1]..'",
    "]]",
    "ü\n",
    "queue/0",
    "state",
]
WORDS = st.one_of(st.sampled_from(NASTY), st.text("ab:/{}%\0*é", max_size=4))


def tag_of(key: str) -> str:
    """What chooses the slot of a key."""
    return key[key.index("{") : key.index("}") + 1]


@given(*[st.tuples(WORDS.filter(bool), WORDS, WORDS, st.sampled_from(["calls", *NASTY]))] * 2)
def test_72_scopes_that_differ_have_keys_that_differ(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    def keys(place: tuple[str, str, str, str]) -> list[str]:
        provider, connection, resource, unit = place
        known, scope = KeyNames("ratesync:", provider), Scope(provider, connection, resource)
        bucket = known.bucket(scope, Rate(10, per=1, unit=unit))
        assert {tag_of(key) for key in (known.root, known.hold(scope), bucket)} == {known.tag[len("ratesync:") : -1]}
        everything = [known.root, known.holders, known.absent, known.hold(scope), bucket, known.log(bucket)]
        assert len(set(everything)) == len(everything)
        return everything

    first, second = keys(one), keys(other)
    if one[0] != other[0]:
        assert not set(first) & set(second)
        assert tag_of(first[0]) != tag_of(second[0])
    elif one != other:
        assert not set(first[4:]) & set(second[4:])
        assert (first[3] == second[3]) == (one[1] == other[1])


@pytest.mark.anyio
async def test_72_lanes_mailboxes_workers_and_ids_of_any_name_are_kept_apart(shared_valkey: Valkey) -> None:
    prefix = new_prefix()
    queue = RedisQueue(RedisServer.from_url(shared_valkey.url, prefix=prefix, durability=Durability.PROCESS))
    await queue.open()
    lanes = [Lane(*pair) for pair in permutations(NASTY, 2)]
    new = {
        f"{place}{key}": item(f"{place}{key}", key, lane=lane, dedupe=key)
        for (place, lane), key in product(enumerate(lanes), NASTY)
    }
    assert not any(answer.duplicate for answer in await submit(queue, *new.values()))
    assert all(answer.duplicate for answer in await submit(queue, *(one._replace(id="x") for one in new.values())))
    for lane in lanes:
        assert (await queue.stats(Selector(*lane))).available == len(NASTY)
    held = {worker: leases(await claim(queue, worker, calls=1, size=9, providers=NASTY)) for worker in NASTY}
    held["the rest"] = leases(await claim(queue, "the rest", calls=len(lanes), providers=NASTY))
    taken = [lease for own in held.values() for lease in own]
    assert {only(lease).id: (lease.lane, lease.key) for lease in taken} == {
        name: (one.lane, one.key) for name, one in new.items()
    }
    for worker, own in held.items():
        assert not await settle(queue, ended(own[0]), f"{worker}:")
        assert all(await queue.extend(worker, own))
        await complete(queue, own, worker)
    found = await queue.get(list(new))
    assert {one.id: one.lane for one in found if one is not None} == {name: one.lane for name, one in new.items()}
    assert {slot_of(key) for key in keys_of(shared_valkey, prefix)} == {slot_of("{queue/0}")}
    await queue.close()


@pytest.mark.anyio
async def test_72_mailboxes_of_several_operations_are_kept_apart(shared_valkey: Valkey) -> None:
    """Each has sorted sets of its own, whose keys end in that of the mailbox."""
    prefix = new_prefix()
    queue = RedisQueue(RedisServer.from_url(shared_valkey.url, prefix=prefix, durability=Durability.PROCESS))
    await queue.open()
    new = [item(f"{turn}{key}", key, priority=turn) for turn, key in product(range(3), NASTY)]
    await submit(queue, *new)
    taken = await take(queue)
    assert {lease.key: [one.id for one in lease.items] for lease in taken} == {
        key: [f"{turn}{key}" for turn in range(3)] for key in NASTY
    }
    assert {slot_of(key) for key in keys_of(shared_valkey, prefix)} == {slot_of("{queue/0}")}
    await complete(queue, taken)
    await queue.close()


@pytest.mark.anyio
async def test_72_quotas_values_and_the_queue_share_a_prefix_and_no_key(shared_valkey: Valkey) -> None:
    """Though a provider may be called as the others' hash tags are."""
    prefix = new_prefix()
    queue = RedisQueue(RedisServer.from_url(shared_valkey.url, prefix=prefix, durability=Durability.PROCESS))
    store = RedisStateStore(queue.server)
    limiter = RedisLimiter(shared_valkey.url, prefix=f"{prefix}:", cold_start=False)
    of_part: list[set[str]] = []
    for part in (queue, store, limiter):
        await part.open()
    await complete(queue, await take(queue))
    await submit(queue, *(item(name, lane=Lane(name, name)) for name in NASTY))
    of_part.append(keys_of(shared_valkey, prefix))
    names = [name for name in NASTY if "\0" not in name]
    await store.commit([Write(name, name.encode(), 0) for name in names])
    of_part.append(keys_of(shared_valkey, prefix) - set().union(*of_part))
    demands = [Demand(Scope(provider, connection), Concurrency(1)) for provider, connection in permutations(NASTY, 2)]
    for demand in demands:
        await granted(limiter, demand)
    for demand in demands:
        await refused(limiter, demand)
    of_part.append(keys_of(shared_valkey, prefix) - set().union(*of_part))
    tags = [{tag_of(key) for key in keys} for keys in of_part]
    assert tags[:2] == [{"{queue/0}"}, {"{state}"}]
    assert tags[2] == {KeyNames("", provider).tag[:-1] for provider in NASTY}
    assert [stored and stored.value for stored in await store.load(names)] == [name.encode() for name in names]
    for first in names:
        found = await store.scan(first)
        assert [stored.key for stored in found] == sorted(name for name in names if name.startswith(first))
    assert (await queue.stats(EVERYTHING)).available == len(NASTY)
    assert {kind_of(key) for keys in of_part for key in keys} <= documented_kinds()
    for part in (limiter, store, queue):
        await part.close()


def kind_of(key: str) -> str:
    """What comes behind the hash tag, without names and numbers."""
    return key[key.index("}") + 2 :].split(":", maxsplit=1)[0]


def documented_kinds() -> set[str]:
    """Those that the tables of the reference have."""
    rows = [line.split("|")[1] for line in DOCUMENTATION.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {kind for row in rows for kind in re.findall(r"`(?:\{provider\}:)?([a-z_]+)", row)}


def keys_of(valkey: Valkey, prefix: str) -> set[str]:
    """All keys with that prefix, but for the marker of the layout."""
    return set(valkey.ask("KEYS", f"{prefix}:*")) - {f"{prefix}:layout"}
