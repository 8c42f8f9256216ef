"""From what was read of a record to the next step: what to store, and what to write to which side.

Nothing is done here. A step that was begun earlier is looked at first: it may be half done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen

from ratesync.engine.sync.case import Case
from ratesync.engine.sync.link_codec import digest, digest_of_patches, unpack_resolution
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.side import Change, Make, Remove
from ratesync.model.conflict import FieldConflict, Loser, Resolution
from ratesync.model.difference import ABSENT, Side, View
from ratesync.model.held import Held
from ratesync.model.intent import Creating, Decided, Deleting, Intent, Step
from ratesync.model.link import LinkEnd, LinkStatus, RecordLink
from ratesync.rules.change_times import change_time
from ratesync.rules.first_match import Situation, situation_of
from ratesync.rules.link_end import confirm, end_after_read
from ratesync.rules.merge import MayWrite, Merge, Resolve
from ratesync.rules.oscillation import BOTH, note_write
from ratesync.rules.reconcile import Action, Reconciliation, reconcile
from ratesync.rules.recovery import may_delete, recover, recovered_base
from ratesync.rules.sameness import is_same
from ratesync.rules.situations import Response


@frozen
class Planner:
    """Decides the next step of each case."""

    pair: Pair
    begin: Callable[[Step, str | None], Intent]
    """A new intent for a step; with the id of an earlier attempt's operation, where it is the same."""
    is_stuck: bool = False
    """Nothing else gets done in this pass: see :func:`~ratesync.rules.references.may_leave_out`."""

    def plan(self, case: Case, link: RecordLink, *, may_delete_now: bool) -> None:
        """Set what the case's link becomes, and its orders. No orders: the case comes to its end with that link.

        A case that stays doubted has neither: it must be looked at again.

        :param may_delete_now: False: a delete is put off.
        """
        case.orders, case.found, case.finishes_earlier = {}, None, False
        case.conflicts, case.pending, case.lacks = (), (), ()
        met_in, is_doubted, case.is_doubted = case.situation, case.is_doubted, False
        held = {side: record for side, record in case.held.items() if not self._is_stale(link, side, record)}
        if link.status is LinkStatus.UNLINKED:
            case.next = link
            return
        for side, record in held.items():
            link = link.with_end(side, confirm(link.end(side), record))
        step = None if link.intent is None else link.intent.step
        if isinstance(step, Decided) and len(held) == len(Side):
            self._carry_on(case, link, step, held)
            return
        self._see(case, link, held)
        if case.situation is Situation.OUT_OF_SCOPE:
            found = Reconciliation(Action.NONE)
        else:
            found = self._reconcile(case, link, held)
        if isinstance(step, Deleting) and found.action is Action.DELETE and not may_delete(step, held.get(step.side)):
            # Somebody made the record again: it is a new one, which only looks like the one that was to go.
            link = evolve(link, local=evolve(link.local, base=None), external=evolve(link.external, base=None))
            found = self._reconcile(case, link, held)
        if is_doubted and not _is_put_off(link, found, may_delete_now=may_delete_now):
            case.next, case.situation, case.is_doubted = None, met_in, True
        elif case.situation is Situation.OUT_OF_SCOPE:
            self._pass_over(case, link, held)
        else:
            self._begin(case, evolve(link, intent=None), found, held, may_delete_now=may_delete_now)

    def _is_stale(self, link: RecordLink, side: Side, held: Held) -> bool:
        """What was read is the record that was deleted, from a replica that does not know yet.

        A store that never lags tells what it holds now. Its versions may be made of the content, so that a record that
        was made anew just as it was has its old one.
        """
        if link.status is not LinkStatus.TOMBSTONE or not self.pair.side(side).may_lag:
            return False
        return held.version is not None and held.version == link.end(side).version

    def _see(self, case: Case, link: RecordLink, held: dict[Side, Held]) -> None:
        """Set the situation that the link is in, if it was not met in another one just now."""
        is_ours = link.intent is not None or not held or self.pair.is_in_scope(each.view for each in held.values())
        if not is_ours:
            case.situation = Situation.OUT_OF_SCOPE
        elif case.situation is None:
            case.situation = situation_of(link.bases, frozenset(held))

    def _pass_over(self, case: Case, link: RecordLink, held: dict[Side, Held]) -> None:
        """Leave a record alone that is none of the pair's. A delete that waited for it does so no more."""
        case.next, case.found = evolve(link.released, seen=seen(held)), Reconciliation(Action.NONE)
        case.response = self.pair.policy[Situation.OUT_OF_SCOPE]
        if case.response is Response.REPORT:
            case.leave("out of scope")

    def _reconcile(self, case: Case, link: RecordLink, held: dict[Side, Held]) -> Reconciliation:
        local, external = held.get(Side.LOCAL), held.get(Side.EXTERNAL)
        return reconcile(
            link.bases,
            None if local is None else local.view,
            None if external is None else external.view,
            self._resolve(link, held),
            self.pair.gone,
            may_write=self._may_write(case),
        )

    def _may_write(self, case: Case) -> MayWrite:
        """Whether the pair's direction lets a side be written, and what the value refers to is linked."""

        def may_write(name: str, side: Side, value: Any) -> bool:
            if side not in self.pair.direction.written:
                return False
            lacks = self.pair.references.lacks(name, side, value)
            case.lacks += tuple(lack for lack in lacks if lack not in case.lacks)
            return not lacks

        return may_write

    def _resolve(self, link: RecordLink, held: dict[Side, Held]) -> Resolve:
        """As a person decided for just these values, else by the pair's rule."""

        def resolve(conflict: FieldConflict) -> Resolution:
            decided = link.resolved.get(conflict.name)
            if decided is not None and decided["of"] == digest(conflict.local, conflict.external):
                return unpack_resolution(decided["as"])
            return self.pair.resolve(self._timed(conflict, link, held))

        return resolve

    def _timed(self, conflict: FieldConflict, link: RecordLink, held: dict[Side, Held]) -> FieldConflict:
        """The conflict, with the times of both changes."""
        times = {
            side: change_time(link.end(side), record, self.pair.side(side).places(conflict.name))
            for side, record in held.items()
        }
        return evolve(conflict, local_change=times.get(Side.LOCAL), external_change=times.get(Side.EXTERNAL))

    def _carry_on(self, case: Case, link: RecordLink, step: Decided, held: dict[Side, Held]) -> None:
        """Finish fields that were decided earlier. The others are left to the next round."""
        local, external = held[Side.LOCAL], held[Side.EXTERNAL]
        # No times here: the records were changed by the step itself, too.
        merged = recover(step, local.view, external.view, self._resolve(link, {}), self._may_write(case))
        case.conflicts, case.pending, case.finishes_earlier = merged.deferred, merged.pending, True
        frozen = {conflict.name for conflict in case.untouched}
        names = [name for name in step.view if name not in frozen]
        value = {
            name: merged.to_local.get(name, merged.to_external.get(name, local.view.get(name, ABSENT)))
            for name in names
        }
        new = merged.losers[len(step.losers) :]  # the others were stored with the step
        decided = self._decided(value, held, new)
        case.found = Reconciliation(_action_of(merged), None, merged.to_local, merged.to_external, new, merged.deferred)
        if merged.to_local or merged.to_external:
            self._order_patches(case, link, case.found, held, decided)
        else:
            case.next = recovered(link, decided, held)

    def _decided(self, view: View, held: dict[Side, Held], losers: tuple[Loser, ...]) -> Decided:
        """What was decided, and how each side would hold it."""
        local, external = held[Side.LOCAL], held[Side.EXTERNAL]
        as_held = {side: self.pair.side(side).as_stored(record, view) for side, record in held.items()}
        as_local = None if is_same(dict(as_held[Side.LOCAL]), dict(view)) else as_held[Side.LOCAL]
        return Decided(view, local.view, external.view, losers, as_held[Side.EXTERNAL], as_local)

    def _begin(
        self, case: Case, link: RecordLink, found: Reconciliation, held: dict[Side, Held], *, may_delete_now: bool
    ) -> None:
        case.found, case.pending = found, found.pending
        case.conflicts = tuple(self._timed(conflict, link, held) for conflict in found.deferred)
        # While a step is under way, what brought the link here stays: a mark, or the delete that waits.
        released = link.released
        match found.action:
            case Action.NONE | Action.CONVERGE | Action.CONFLICT:
                is_whole = len(held) == len(Side)
                case.next = settled(released, held, case) if is_whole else evolve(released, seen=seen(held))
            case Action.PUSH | Action.PULL | Action.MERGE:
                view = {**found.to_local, **found.to_external}
                self._order_patches(case, link, found, held, self._decided(view, held, found.losers))
            case Action.CREATE | Action.RESURRECT if found.side not in self.pair.direction.written:
                case.next, case.found = evolve(released, seen=seen(held)), Reconciliation(Action.NONE)
            case Action.CREATE | Action.RESURRECT:
                self._order_creation(case, link, found, held)
            case Action.DELETE | Action.ARCHIVE if not may_delete_now:
                gone_on = None if found.side is None else found.side.other
                case.next = evolve(link, gone_on=gone_on)
            case Action.DELETE | Action.ARCHIVE:
                self._order_deletion(case, link, found, held)
            case Action.UNLINK | Action.LINK:  # reconcile never links
                case.next = evolve(released, status=LinkStatus.UNLINKED)
            case Action.TOMBSTONE:
                case.next = buried(link, is_ours=_is_deleting(case.link))

    def _order_patches(
        self, case: Case, link: RecordLink, found: Reconciliation, held: dict[Side, Held], decided: Decided
    ) -> None:
        intent = self.begin(decided, None)
        what = digest_of_patches(found.to_local, found.to_external) if not case.finishes_earlier else intent.op_id
        to = BOTH if found.to_local and found.to_external else Side.LOCAL if found.to_local else Side.EXTERNAL
        writes = note_write(self.pair.oscillation, link.writes, what, to, intent.started_at)
        if writes is None:
            case.found, case.reason = None, "the sides rewrite each other's values again and again"
            aside = evolve(link, intent=None, status=LinkStatus.QUARANTINED, trouble=case.reason)
            case.next = evolve(aside, seen=seen(held))
            return
        case.next = evolve(link, intent=intent, writes=writes)
        for side, patch in ((Side.LOCAL, found.to_local), (Side.EXTERNAL, found.to_external)):
            if patch:
                case.orders[side] = Change(intent.op_id, held[side], patch)

    def _order_creation(self, case: Case, link: RecordLink, found: Reconciliation, held: dict[Side, Held]) -> None:
        side = found.side
        assert side is not None  # noqa: S101  a creation is on one side
        source, references = held[side.other], self.pair.references
        lacks = references.all_lacks(source.view, side)
        if lacks and references.must_wait(lacks, is_stuck=self.is_stuck):
            case.wait(lacks, references.reason(lacks))
            return
        case.lacks, left_out = lacks, {lack.name for lack in lacks}
        view = {name: value for name, value in source.view.items() if name not in left_out}
        intent = self.begin(Creating(side, view, None, source.version), None)
        record_id = self.pair.side(side).new_id(intent.op_id)
        step = Creating(side, view, record_id, source.version, intent.until)
        source_end = evolve(link.end(side.other), record_id=source.record.record_id)
        link = evolve(link.mended, intent=evolve(intent, step=step))
        case.next = link.with_end(side, LinkEnd(record_id)).with_end(side.other, source_end)
        case.orders[side] = Make(intent.op_id, step.view, record_id)

    def _order_deletion(self, case: Case, link: RecordLink, found: Reconciliation, held: dict[Side, Held]) -> None:
        """A delete, or what is written in its place."""
        side = found.side
        assert side is not None  # noqa: S101  a delete is on one side
        before = held[side]
        intent = self.begin(Deleting(side, before.version, before.view, found.losers), None)
        case.next = evolve(link, intent=intent)
        patch = {**found.to_local, **found.to_external}
        case.orders[side] = Change(intent.op_id, before, patch) if patch else Remove(intent.op_id, before)


def _is_put_off(link: RecordLink, found: Reconciliation, *, may_delete_now: bool) -> bool:
    """Whether a step waits for the end of the pass, where the records are looked at again; or has waited."""
    if found.action not in {Action.DELETE, Action.ARCHIVE} or found.side is None:
        return False
    return not may_delete_now or link.gone_on is found.side.other


def _action_of(merged: Merge) -> Action:
    if merged.to_local:
        return Action.MERGE if merged.to_external else Action.PULL
    return Action.PUSH if merged.to_external else Action.CONVERGE


def seen(held: Mapping[Side, Held]) -> Mapping[Side, LinkEnd]:
    """What the sides hold while nothing is done about it."""
    return {side: LinkEnd(each.record.record_id, each.view, each.version) for side, each in held.items()}


def settled(link: RecordLink, held: dict[Side, Held], case: Case) -> RecordLink:
    """The link, when all that both sides hold is settled, but for fields that the case leaves untouched."""
    for side, record in held.items():
        link = link.with_end(side, end_after_read(link.end(side), record, case.untouched))
    return with_deferred(link.mended, case.conflicts)


def with_deferred(link: RecordLink, deferred: tuple[FieldConflict, ...]) -> RecordLink:
    """The link, with these open conflicts."""
    names = {conflict.name: digest(conflict.local, conflict.external) for conflict in deferred}
    kept = {name: value for name, value in link.resolved.items() if name in names}
    return evolve(link, deferred=names, resolved=kept)


def recovered(link: RecordLink, decided: Decided, held: dict[Side, Held]) -> RecordLink:
    """The link, when an earlier step is finished: only what it decided is settled, the rest must be merged yet."""
    for side, record in held.items():
        base = recovered_base(link.end(side).base, record.view, decided, ())
        link = link.with_end(side, LinkEnd(record.record.record_id, base))
    return evolve(link, intent=None)


def _is_deleting(link: RecordLink | None) -> bool:
    return link is not None and link.intent is not None and isinstance(link.intent.step, Deleting)


def buried(link: RecordLink, *, is_ours: bool) -> RecordLink:
    """The link, when both records are gone.

    :param is_ours: we have deleted one of them. Only then versions are kept, by which a read is known that comes too
        late: what nobody is known to have deleted may as well be back.
    """
    ends = {side: evolve(link.end(side), base=None, unconfirmed=()) for side in Side}
    if not is_ours:
        ends = {side: evolve(end, version=None) for side, end in ends.items()}
    link = evolve(link.released.mended, status=LinkStatus.TOMBSTONE, intent=None)
    return with_deferred(evolve(link, local=ends[Side.LOCAL], external=ends[Side.EXTERNAL]), ())
