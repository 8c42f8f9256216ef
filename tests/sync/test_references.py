"""Records that refer to others: translated by links, made after them, deleted before them, never in their way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve

from ratesync.engine.sync.conflict_book import ConflictBook
from ratesync.engine.sync.link_codec import waits_only
from ratesync.engine.sync.pull import Puller
from ratesync.memory.state import MemoryStateStore
from ratesync.model.conflict import Take
from ratesync.model.difference import Side
from ratesync.model.outcome import Outcome, Rejected
from ratesync.model.reference import Reference
from ratesync.model.stored import Stored, Write
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.reconcile import GoneMode, GonePolicy
from tests.sync.family import FAMILY, Family, Member
from tests.sync.trial import Versions

pytestmark = pytest.mark.anyio
LOOSE = DeletePolicy(max_deletes=1000, max_delete_ratio=1.0)


class Counting(MemoryStateStore):
    """Counts loads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[Sequence[str]] = []
        self.written: list[Write] = []

    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        self.loads.append(keys)
        return await super().load(keys)

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        self.written += writes
        return await super().commit(writes)


def family(state: Any = None, *, required: bool = False, **pair: Any) -> tuple[Family, Member, Member]:
    found = Family(state)
    contacts = found.add("contacts", references={"account": Reference("accounts", required=required)}, **pair)
    return found, contacts, found.add("accounts", **pair)


async def test_ids_are_translated_both_ways_and_parents_are_made_first() -> None:
    both, contacts, accounts = family()
    accounts.local.put("a1", {"name": "Acme"})
    contacts.local.put("c1", {"name": "Ada", "account": "a1"})
    accounts.crm.put("u1", {"name": "Bolt"})
    contacts.crm.put("u2", {"name": "Bob", "account": "u1"})
    contacts.crm.put("u3", {"name": "Cy", "account": None})
    runs = await both.sync()
    assert contacts.external("Ada")[1]["account"] == accounts.external("Acme")[0]
    assert contacts.inner("Bob")[1]["account"] == accounts.inner("Bolt")[0]
    assert contacts.inner("Cy")[1]["account"] is None
    assert both.writes == {"accounts": 1, "contacts": 1}
    assert {run.left for run in runs.values()} == {0}
    # a change of a reference goes either way, and is no news on the other side
    contacts.local.change("c1", account=accounts.inner("Bolt")[0])
    contacts.crm.put("u2", {"name": "Bob", "account": accounts.external("Acme")[0]})
    await both.sync()
    assert contacts.external("Ada")[1]["account"] == "u1"
    assert contacts.inner("Bob")[1]["account"] == "a1"
    assert both.writes == {"accounts": 1, "contacts": 2}
    await idle(both)


async def test_a_reference_that_is_taken_away_goes_on_the_other_side_too() -> None:
    both, contacts, accounts = family()
    accounts.local.put("a1", {"name": "Acme"})
    for name in ("Ada", "Bob"):
        contacts.local.put(name, {"name": name, "account": "a1"})
    await both.sync()
    contacts.local.put("Ada", {"name": "Ada"})
    contacts.crm.put(contacts.external("Bob")[0], {"name": "Bob"})
    runs = await both.sync()
    assert contacts.external("Ada")[1]["account"] is None
    assert contacts.inner("Bob")[1] == {"name": "Bob"}
    assert runs["contacts"].left == 0
    await idle(both)


async def idle(some: Family) -> None:
    """A pass writes nothing, to no side and to no store, but for one that hears of our own writes."""
    await some.sync()
    before = some.writes, {name: dict(member.local.records) for name, member in some.members.items()}
    stored = {each.key: each for each in await some.state.scan("sync/", limit=10_000)}
    runs = await some.sync()
    assert (some.writes, {name: dict(member.local.records) for name, member in some.members.items()}) == before
    assert {each.key: each for each in await some.state.scan("sync/", limit=10_000)} == stored
    assert not any(run.actions for run in runs.values())


@pytest.mark.parametrize("required", [False, True])
async def test_a_record_waits_for_one_that_is_on_its_way_without_a_call_and_is_told(required: bool) -> None:
    both, contacts, accounts = family(required=required)
    accounts.local.put("a1", {"name": "Acme"})
    contacts.local.put("c1", {"name": "Ada", "account": "a1"})
    await both.members["accounts"].reconciler.books.state.commit([])
    await pulled(accounts)
    for _ in range(2):
        run = (await both.sync("contacts"))["contacts"]
        assert (run.left, run.reasons) == (1, {"account: its record of accounts is not linked": 1})
        assert contacts.crm.records == {}
    reads: list[Any] = []
    contacts.crm.execute = lambda *call: reads.append(call)  # type: ignore[assignment]
    assert (await both.sync("contacts"))["contacts"].left == 1
    assert reads == []
    del contacts.crm.execute
    await both.sync("accounts")
    await both.sync("contacts")
    assert contacts.external("Ada")[1]["account"] == accounts.external("Acme")[0]
    assert both.writes == {"accounts": 1, "contacts": 1}
    await idle(both)


async def pulled(member: Member) -> None:
    """Its changes are read, and not worked on."""
    reconciler = member.reconciler
    for side in Side:
        await Puller(reconciler.pair.side(side), reconciler.books, reconciler.settings, reconciler.clock).pull()


async def test_what_never_comes_does_not_keep_the_record_from_being_made_unless_it_is_required() -> None:
    for required in (False, True):
        both, contacts, accounts = family(required=required)
        contacts.local.put("c1", {"name": "Ada", "account": "nobody"})
        contacts.crm.put("u9", {"name": "Bob", "account": "xnobody"})
        run = (await both.sync())["contacts"]
        assert run.left == 2
        if required:
            assert (len(contacts.crm.records), len(contacts.local.records)) == (1, 1)
        else:
            assert contacts.external("Ada")[1] == {"name": "Ada"}
            assert contacts.inner("Bob")[1] == {"name": "Bob"}
            contacts.local.change("c1", name="Ada L.")
            contacts.crm.put("u9", {"name": "Bob B.", "account": "xnobody"})
            await both.sync()  # the other fields go on
            assert contacts.external("Ada L.")[1] == {"name": "Ada L."}
            assert contacts.inner("Bob B.")[1] == {"name": "Bob B."}
            assert contacts.crm.records["u9"].fields["account"] == "xnobody"
        await idle(both)
        accounts.local.put("nobody", {"name": "Acme"})
        accounts.crm.put("xnobody", {"name": "Bolt"})
        await both.sync()
        await both.sync()
        name = "Ada" if required else "Ada L."
        assert contacts.external(name)[1]["account"] == accounts.external("Acme")[0]
        assert contacts.inner("Bob" if required else "Bob B.")[1]["account"] == accounts.inner("Bolt")[0]
        await idle(both)


async def test_a_circle_is_made_with_one_reference_left_out_which_is_patched_after() -> None:
    both = Family()
    contacts = both.add("contacts", references={"account": "accounts"})
    accounts = both.add("accounts", references={"owner": "contacts"})
    accounts.local.put("a1", {"name": "Acme", "owner": "c1"})
    contacts.local.put("c1", {"name": "Ada", "account": "a1"})
    runs = await both.sync()
    assert contacts.external("Ada")[1]["account"] == accounts.external("Acme")[0]
    assert accounts.external("Acme")[1]["owner"] == contacts.external("Ada")[0]
    assert sum(both.writes.values()) == 3
    assert {run.left for run in runs.values()} == {0}
    await idle(both)


async def test_a_circle_whose_references_are_all_required_is_told_and_left() -> None:
    both = Family()
    both.add("contacts", references={"account": Reference("accounts", required=True)})
    both.add("accounts", references={"owner": Reference("contacts", required=True)})
    both.members["accounts"].local.put("a1", {"name": "Acme", "owner": "c1"})
    both.members["contacts"].local.put("c1", {"name": "Ada", "account": "a1"})
    runs = await both.sync()
    assert {run.left for run in runs.values()} == {1}
    assert both.writes == {"accounts": 0, "contacts": 0}
    await idle(both)


async def test_records_that_refer_to_their_own_kind_and_to_themselves() -> None:
    one = Family()
    people = one.add("people", references={"boss": "people", "team": "people"}, guard=LOOSE)
    people.local.put("p9", {"name": "self", "boss": "p9"})
    for number in range(8):  # in the worst order: each one's boss is marked behind it
        people.local.put(f"p{number}", {"name": f"n{number}", "boss": f"p{number + 1}" if number < 7 else None})
    people.local.put("q", {"name": "q", "team": ["p0", "p9"]})
    runs = await one.sync()
    assert runs["people"].left == 0
    for number in range(7):
        assert people.external(f"n{number}")[1]["boss"] == people.external(f"n{number + 1}")[0]
    own_id, own = people.external("self")
    assert own["boss"] == own_id
    assert people.external("q")[1]["team"] == [people.external("n0")[0], own_id]
    await idle(one)


class Careful:
    """Refuses to delete a record that another one refers to."""

    def __init__(self, of: Member, by: list[tuple[Member, str]]) -> None:
        self.of, self.by, self.execute = of, by, of.crm.execute
        of.crm.execute = self.guarded  # type: ignore[assignment, method-assign]

    async def guarded(self, lane: Any, operations: Sequence[Any], *keep: Any) -> Any:
        answers: dict[str, Outcome] = {}
        for operation in operations:  # one by one, as a provider would
            used = {
                record.fields.get(field)
                for member, field in self.by
                for record_id, record in member.crm.records.items()
                if record_id != operation.record_id
            }
            if str(operation.kind) == "delete" and operation.record_id in used:
                answers[operation.id or ""] = Rejected("it is referred to", "409")
            else:
                answers |= await self.execute(lane, [operation], *keep)
        return answers


async def test_children_are_deleted_before_their_parents() -> None:
    both, contacts, accounts = family(guard=LOOSE)
    people = both.add("people", references={"boss": "people"}, guard=LOOSE)
    accounts.local.put("a1", {"name": "Acme"})
    contacts.local.put("c1", {"name": "Ada", "account": "a1"})
    for number in range(6):
        people.local.put(f"p{number}", {"name": f"n{number}", "boss": f"p{number - 1}" if number else None})
    await both.sync()
    Careful(accounts, [(contacts, "account")])
    Careful(people, [(people, "boss")])
    for member in both.members.values():
        for record_id in list(member.local.records):
            member.local.remove(record_id)
    await both.sync()
    assert [len(member.crm.records) for member in both.members.values()] == [0, 0, 0]
    for name in both.members:
        assert set(await both.statuses(name)) == {"tombstone"}


async def test_a_reference_to_a_deleted_or_unlinked_record_stays_as_it_is_and_is_told() -> None:
    for gone in (GonePolicy(), GonePolicy(mode=GoneMode.UNLINK)):
        both, contacts, accounts = family(gone=gone, guard=LOOSE)
        accounts.local.put("a1", {"name": "Acme"})
        contacts.local.put("c1", {"name": "Ada", "account": "a1"})
        contacts.local.put("c2", {"name": "Bob"})
        await both.sync()
        before = contacts.external("Ada")[1]
        accounts.local.remove("a1")
        await both.sync()
        await idle(both)
        assert contacts.external("Ada")[1] == before
        contacts.local.change("c2", account="a1", name="Rob")  # though it is gone
        contacts.local.put("c3", {"name": "Cy", "account": "a1"})
        run = (await both.sync())["contacts"]
        assert run.left == 2
        assert "account" not in contacts.external("Rob")[1]
        assert "account" not in contacts.external("Cy")[1]
        await idle(both)
        contacts.local.change("c2", account=None)
        await both.sync()
        assert (await both.sync())["contacts"].left == 1


async def test_a_conflict_of_references_is_one_of_ids_of_ours() -> None:
    both, contacts, accounts = family()
    for number in range(3):
        accounts.local.put(f"a{number}", {"name": f"n{number}"})
    contacts.local.put("c1", {"name": "Ada", "account": "a0"})
    await both.sync()
    external_id, fields = contacts.external("Ada")
    contacts.local.change("c1", account="a1")
    contacts.crm.put(external_id, {**fields, "account": accounts.external("n2")[0]})
    run = (await both.sync())["contacts"]
    assert run.actions == {"conflict": 1}
    book = ConflictBook(contacts.reconciler.books)
    (found,) = [each async for each in book.conflicts()]
    assert (found.conflict.local, found.conflict.external, found.conflict.base_external) == ("a1", "a2", "a0")
    await book.resolve(found, Take(Side.EXTERNAL))
    await both.sync()
    assert contacts.local.records["c1"].fields["account"] == "a2"
    await idle(both)


async def test_a_chunk_costs_two_loads_for_all_its_references() -> None:
    state = Counting()
    both, contacts, accounts = family(state)
    for number in range(40):
        accounts.local.put(f"a{number}", {"name": f"n{number}"})
        contacts.local.put(f"c{number}", {"name": f"m{number}", "account": f"a{number}"})
    await both.sync("accounts")
    state.loads.clear()
    await both.sync("contacts")
    of_accounts = [keys for keys in state.loads if any("/accounts/" in key for key in keys)]
    assert len(contacts.crm.records) == 40
    assert len(of_accounts) <= 2 * 2  # a round for the creation, and one at most to look at the answers
    assert max(map(len, of_accounts)) == 40


@pytest.mark.parametrize("versions", [Versions.NONE, Versions.COUNTED])
async def test_a_provider_without_tombstones_that_is_listed_in_each_pass_stays_idle_too(versions: Versions) -> None:
    trial = evolve(FAMILY, versions=versions, tombstones=False, feed_has_fields=True)
    both = Family()
    contacts = both.add("contacts", trial, references={"account": "accounts"})
    accounts = both.add("accounts", trial)
    accounts.local.put("a1", {"name": "Acme"})
    contacts.local.put("c1", {"name": "Ada", "account": "a1"})
    contacts.local.put("c2", {"name": "Bob", "account": "nobody"})
    if versions is Versions.COUNTED:  # else it is read in each pass, as its content is not what is known
        contacts.crm.put("u9", {"name": "Cy", "account": "xnobody"})
    await both.sync()
    await both.sync()
    assert contacts.external("Ada")[1]["account"] == accounts.external("Acme")[0]
    await idle(both)


class Killed(BaseException):
    """The process dies."""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the loop has no say in it, and there are many runs
async def test_whatever_call_the_process_dies_at_the_references_are_right_in_the_end() -> None:
    draw = random.Random(7)
    for at in range(1, 60):
        state = Dying(at, after=draw.random() < 0.5)
        both = Family(state)
        contacts = both.add("contacts", references={"account": "accounts"})
        accounts = both.add("accounts", references={"owner": "contacts"})
        accounts.local.put("a1", {"name": "Acme", "owner": "c1"})
        contacts.local.put("c1", {"name": "Ada", "account": "a1"})
        accounts.crm.put("u1", {"name": "Bolt"})
        contacts.crm.put("u2", {"name": "Bob", "account": "u1"})
        for member in both.members.values():
            watch_writes(member, state)
        with suppress(Killed):
            await both.sync()
            await both.sync()
        state.at = 0
        for number in range(4):
            both.clock.at += 1000.0
            if number == 1:
                contacts.local.change("c1", account=accounts.inner("Bolt")[0])
            await both.sync()
        assert contacts.external("Ada")[1]["account"] == "u1", at
        assert contacts.inner("Bob")[1]["account"] == accounts.inner("Bolt")[0], at
        assert accounts.external("Acme")[1]["owner"] == contacts.external("Ada")[0], at
        assert [len(member.crm.records) for member in both.members.values()] == [2, 2], at
        await idle(both)


class Dying(MemoryStateStore):
    """Dies at a commit or at a write to the provider, before or after it is carried out."""

    def __init__(self, at: int, *, after: bool) -> None:
        super().__init__()
        self.at, self.after, self.count = at, after, 0

    def dies(self) -> bool:
        self.count += 1
        return self.count == self.at

    async def commit(self, writes: Sequence[Write]) -> Sequence[int]:
        dies = self.dies()
        if dies and not self.after:
            raise Killed
        found = await super().commit(writes)
        if dies:
            raise Killed
        return found


def watch_writes(member: Member, state: Dying) -> None:
    execute = member.crm.execute

    async def watched(lane: Any, operations: Sequence[Any], *keep: Any) -> Any:
        dies = str(operations[0].kind) != "read" and state.dies()
        if dies and not state.after:
            raise Killed
        answers = await execute(lane, operations, *keep)
        if dies:
            raise Killed
        return answers

    member.crm.execute = watched  # type: ignore[assignment, method-assign]


async def test_nobody_works_on_a_record_whose_mark_says_that_it_waits() -> None:
    """Else a pull that meets the record as it was before would take that for an echo, and tell nobody."""
    both, contacts, accounts = family()
    contacts.local.put("c1", {"name": "Ada", "account": "a1"})
    await both.sync()
    accounts.local.put("a1", {"name": "Acme"})
    await both.sync("accounts")
    keys, execute = contacts.reconciler.books.keys, contacts.crm.execute
    seen: list[bool] = []

    async def watched(lane: Any, operations: Sequence[Any], *keep: Any) -> Any:
        (mark,) = await both.state.load([keys.mark(Side.LOCAL, "c1")])
        seen.append(mark is not None and not waits_only(mark.value))
        return await execute(lane, operations, *keep)

    contacts.crm.execute = watched  # type: ignore[assignment, method-assign]
    await both.sync("contacts")
    assert contacts.external("Ada")[1]["account"] == accounts.external("Acme")[0]
    assert seen
    assert all(seen)
