# pyright: basic, reportPrivateUsage=false
"""Rules of two-way sync, each broken on purpose.

Bugs reach inside and replace things by others of about their form, so the strict type rules are off here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from ratesync.engine.sync import creations, endings, pull, reconciler, saving, steps, waiting
from ratesync.engine.sync.arrivals import Arrivals
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.endings import created
from ratesync.engine.sync.link_codec import encode_link
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.pull import Puller
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.reference_table import ReferenceTable
from ratesync.errors import StateConflict
from ratesync.model.batch import CreateIdentity
from ratesync.model.change import ChangePage
from ratesync.model.difference import ABSENT
from ratesync.model.intent import Decided, Fate
from ratesync.model.link import LinkEnd
from ratesync.model.outcome import Outcome
from ratesync.model.stored import Write
from ratesync.rules import reconcile as rules
from ratesync.rules.link_end import end_after_patch, end_after_read
from ratesync.rules.merge import Merge
from ratesync.rules.reconcile import Action
from ratesync.rules.recovery import recover
from ratesync.rules.sameness import is_same
from tests.sync.fake_crm import FakeCrm
from tests.sync.process import Process

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], None]
BUGS: dict[str, tuple[Bug, dict[str, Any], int]] = {}


def bug(name: str, start: int = 0, **where: Any) -> Callable[[Bug], Bug]:
    """Put a bug on the list, with what trials must be like to meet it often.

    :param start: the first seed, for a bug that few trials meet.
    """

    def add(function: Bug) -> Bug:
        BUGS[name] = function, where, start
        return function

    return add


CALM: dict[str, Any] = {
    "edit_chance": 0.2,
    "fault_chance": 0.0,
    "kill_chance": 0.0,
    "expiry_chance": 0.0,
    "blink_chance": 0.0,
}
LOSING: dict[str, Any] = {"edit_chance": 0.2, "fault_chance": 0.2}
UPSERTING: dict[str, Any] = {"identity": CreateIdentity.LOOKUP, "upserts": True}
TWO: dict[str, Any] = {**CALM, "engines": 2, "slow_chance": 0.2}
KILLED: dict[str, Any] = {
    "edit_chance": 0.05,
    "kill_chance": 0.02,
    "engines": 1,
    "poller": False,
    "tombstones": True,
    "passes": 12,
    "blink_chance": 0.0,
}
DELETING: dict[str, Any] = {
    **KILLED,
    "edit_chance": 0.02,
    "kill_chance": 0.08,
    "fault_chance": 0.0,
    "expiry_chance": 0.0,
    "edit_wins": False,
    "passes": 20,
}
POLLED: dict[str, Any] = {**CALM, "engines": 1, "poller": True, "slow_chance": 0.2, "tombstones": True, "coarse": False}


@bug("an intent is carried out, whatever was written since")
def _(patch: Patch) -> None:
    def roll_forward(decided: Decided, local: Any, external: Any, resolve: Any, may_write: Any) -> Merge:
        meant = decided.view.items()
        return Merge(
            {name: value for name, value in meant if not is_same(local.get(name, ABSENT), value)},
            {name: value for name, value in meant if not is_same(external.get(name, ABSENT), value)},
            decided.losers,
        )

    patch.setattr(steps, "recover", roll_forward)


@bug("after a recovery all that the sides hold counts as settled")
def _(patch: Patch) -> None:
    patch.setattr(steps, "recovered_base", lambda base, held, decided, deferred: dict(held))


@bug("what a recovery drops is not stored")
def _(patch: Patch) -> None:
    def silent(decided: Decided, local: Any, external: Any, resolve: Any, may_write: Any) -> Merge:
        return evolve(recover(decided, local, external, resolve, may_write), losers=decided.losers)

    patch.setattr(steps, "recover", silent)


@bug("there are no bases", tidy_local="upper", tidy_external="lower")
def _(patch: Patch) -> None:
    def without(link: Any) -> bytes:
        ends = {name: evolve(getattr(link, name), base=None) for name in ("local", "external")}
        return encode_link(evolve(link, **ends))

    patch.setattr(saving, "encode_link", without)


@bug("marks live in the memory of a process", **KILLED)
def _(patch: Patch) -> None:
    run_pass, owners = Process.run_pass, dict[int, str]()

    async def born_without(self: Any) -> Any:
        if owners.setdefault(self.world.trial.seed, self.owner) != self.owner:
            for kind in self.world.kinds:
                marks = await self.world.state.scan(kind.keys.marks, limit=1000)
                await self.world.state.commit([Write(mark.key, None) for mark in marks])
        owners[self.world.trial.seed] = self.owner
        return await run_pass(self)

    patch.setattr(Process, "run_pass", born_without)


@bug("no intent is stored", identity=CreateIdentity.LOOKUP, kill_chance=0.08)
def _(patch: Patch) -> None:
    def without(link: Any) -> bytes:
        return encode_link(evolve(link, intent=None))

    patch.setattr(saving, "encode_link", without)
    patch.setattr(saving, "_makes", lambda link, side: False)


@bug("what is dropped is not stored")
def _(patch: Patch) -> None:
    patch.setattr(saving, "_loser_writes", lambda old, new, keys: [])


@bug("what is dropped is stored after the writes")
def _(patch: Patch) -> None:
    store = saving._loser_writes

    def late(old: Any, new: Any, keys: Any) -> list[Write]:
        if old is None or old.intent is None or new.intent is not None:
            return []
        return store(evolve(old, intent=None), old, keys)

    patch.setattr(saving, "_loser_writes", late)


@bug("a mark is cleared even if it is newer", start=520, **POLLED)
def _(patch: Patch) -> None:
    draft_of = saving.draft_of

    def careless(case: Any, keys: Any, *, clear: bool) -> Any:
        draft = draft_of(case, keys, clear=clear)
        draft.clears = [evolve(write, if_revision=None) for write in draft.clears]
        return draft

    patch.setattr(reconciler, "draft_of", careless)
    patch.setattr(creations, "draft_of", careless)


@bug("the cursor is stored before the marks")
def _(patch: Patch) -> None:
    stage = Puller._stage

    async def hasty(self: Any, changes: Any, position: Any, *, moved: bool) -> bool:
        if position is not None and moved:
            writes = [Write(self._cursor_key, position.written(), position.revision)]
            try:
                (position.revision,) = await self.books.state.commit(writes)
            except StateConflict:
                return False
        return await stage(self, changes, position, moved=False)

    patch.setattr(Puller, "_stage", hasty)


@bug("a feed by a coarse clock goes on behind the last instant", coarse=True, edit_chance=0.2, passes=8)
def _(patch: Patch) -> None:
    def by_clock(self: Any, cursor: Any, limit: int) -> Any:
        after = float(cursor or 0)
        order = sorted((at, record_id) for record_id, (at, _) in self.changed.items() if at > after)
        page = order[:limit]
        position = str(page[-1][0] if page else after)
        return ChangePage(self._told(record_id for _, record_id in page), position, len(order) > limit)

    patch.setattr(FakeCrm, "_by_clock", by_clock)


@bug("both sides share one base", tidy_local="upper", tidy_external="lower")
def _(patch: Patch) -> None:
    settled = steps.settled

    def shared(link: Any, held: Any, deferred: Any) -> Any:
        link = settled(link, held, deferred)
        return evolve(link, external=evolve(link.external, base=link.local.base))

    patched = endings.Endings._patched

    def shared_patched(self: Any, case: Any, link: Any) -> Any:
        link = patched(self, case, link)
        return evolve(link, external=evolve(link.external, base=link.local.base))

    patch.setattr(steps, "settled", shared)
    patch.setattr(endings.Endings, "_patched", shared_patched)


@bug("a lost create that is found takes what the sides hold now as bases", **LOSING)
def _(patch: Patch) -> None:
    find = creations.Creations._find

    async def looking(self: Any, case: Any) -> None:
        def current(link: Any, step: Any, record_id: str, sent: Any, **options: Any) -> Any:
            source = case.held.get(step.side.other)
            if source is not None:
                step = evolve(step, view=source.view, source_version=source.version)
            return created(link, step, record_id, sent, **options)

        setattr(creations, "created", current)  # noqa: B010  type checkers know no such name there
        try:
            await find(self, case)
        finally:
            setattr(creations, "created", created)  # noqa: B010

    patch.setattr(creations.Creations, "_find", looking)


@bug("a lost create is made once more", fault_chance=0.2)
def _(patch: Patch) -> None:
    async def never(self: Any, case: Any) -> None:
        link = case.link
        case.next = evolve(link.with_end(link.intent.step.side, LinkEnd()), intent=None)

    patch.setattr(creations.Creations, "_find", never)


@bug("a lost create is sent again, and the provider makes it an update", **LOSING, **UPSERTING)
def _(patch: Patch) -> None:
    async def again(self: Any, order: Any, age: float, *, keep: Any, **_rest: Any) -> Any:
        answers: dict[str, Outcome] = {}
        await self.write([order], answers.__setitem__, keep)
        return answers.get(order.op_id, Fate.IN_DOUBT)

    patch.setattr(ProviderSide, "make_sure", again)


@bug("links are stored whoever changed them since", engines=2, slow_chance=0.2)
def _(patch: Patch) -> None:
    link_writes = saving._link_writes

    def unfenced(old: Any, revision: int, new: Any, keys: Any) -> list[Write]:
        first, *rest = link_writes(old, revision, new, keys)
        return [evolve(first, if_revision=None), *rest]

    patch.setattr(saving, "_link_writes", unfenced)


@bug("a new record is taken for somebody's, though a create of ours is out")
def _(patch: Patch) -> None:
    async def never(self: Any, case: Any) -> bool:
        return False

    patch.setattr(Arrivals, "_may_be_ours", never)


@bug("what a write answers is the base, though others changed it too")
def _(patch: Patch) -> None:
    def greedy(end: Any, before: Any, patched: Any, deferred: Any, *, version: Any, answer: Any) -> LinkEnd:
        if answer is None:
            return end_after_patch(end, before, patched, deferred, version=version, answer=answer)
        return LinkEnd(before.record.record_id, dict(answer), version)

    patch.setattr(endings, "end_after_patch", greedy)


@bug("writes do not depend on the version that was read")
def _(patch: Patch) -> None:
    write = FakeCrm._write

    def blind(self: Any, operation: Any) -> Any:
        return write(self, evolve(operation, if_version=None))

    patch.setattr(FakeCrm, "_write", blind)


@bug("leases of others are not minded", **TWO, identity=CreateIdentity.NONE)
def _(patch: Patch) -> None:
    check = Reconciler._check

    def rude(self: Any, case: Any) -> None:
        link = case.link
        if link is not None and link.intent is not None:
            case.link = evolve(link, intent=evolve(link.intent, owner=self.owner))
        check(self, case)
        case.link = link

    patch.setattr(Reconciler, "_check", rude)


@bug("all that a version of ours holds counts as ours")
def _(patch: Patch) -> None:
    def trusting(end: Any, held: Any) -> Any:
        if not end.unconfirmed or end.version != held.version:
            return end
        return evolve(end, base=dict(held.view), unconfirmed=())

    patch.setattr(steps, "confirm", trusting)


@bug("a field that waits for a person is settled")
def _(patch: Patch) -> None:
    def settle(end: Any, held: Any, deferred: Any) -> LinkEnd:
        return end_after_read(end, held, ())

    patch.setattr(steps, "end_after_read", settle)
    patch.setattr(endings, "end_after_read", settle)


@bug("a delete that waits is forgotten when it begins", start=30, **DELETING)
def _(patch: Patch) -> None:
    order = steps.Planner._order_deletion

    def forgetful(self: Any, case: Any, link: Any, found: Any, held: Any) -> None:
        order(self, case, evolve(link, gone_on=None), found, held)

    patch.setattr(steps.Planner, "_order_deletion", forgetful)


@bug("going back to the base of a conflict is no news", resolver="manual", edit_chance=0.2)
def _(patch: Patch) -> None:
    def content_only(change: Any, view: Any, side: Any, link: Any) -> bool:
        base = link.end(side).base
        return not change.is_deleted and view is not None and base is not None and is_same(dict(view), dict(base))

    patch.setattr(pull, "is_echo", content_only)


@bug("ids of other records are written as they stand", families=True)
def _(patch: Patch) -> None:
    patch.setattr(ReferenceTable, "_each", lambda self, fields, translate: fields)


@bug("what a record waits for is forgotten", families=True, engines=2, slow_chance=1.0, edit_chance=0.2)
def _(patch: Patch) -> None:
    draft_of = saving.draft_of

    def forgetful(case: Any, keys: Any, *, clear: bool) -> Any:
        case.lacks = ()
        return draft_of(case, keys, clear=clear)

    for module in (creations, reconciler, waiting):
        patch.setattr(module, "draft_of", forgetful)


@bug("a 404 is believed at once", blink_chance=0.2)
def _(patch: Patch) -> None:
    patch.setattr(Case, "doubt", lambda self, lagging: None)


@bug("who is deleted on one side is made there again", **CALM)
def _(patch: Patch) -> None:
    decide = rules._one_there

    def revive(side: Any, held: Any, base: Any, policy: Any) -> Any:
        found = decide(side, held, base, policy)
        return found if found.action is not Action.DELETE else rules._made(Action.RESURRECT, side.other, held)

    patch.setattr(rules, "_one_there", revive)
