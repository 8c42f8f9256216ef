"""What a link becomes when its writes have been answered."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from ratesync.clock import Clock
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.side import Change
from ratesync.engine.sync.steps import buried, recovered, seen, with_deferred
from ratesync.model.difference import Side, View
from ratesync.model.held import Held
from ratesync.model.intent import Creating, Decided, Deleting
from ratesync.model.link import LinkEnd, LinkStatus, RecordLink
from ratesync.model.outcome import GONE_CODES, Applied, Conflict, Outcome, Rejected, RetryLater
from ratesync.model.sync_settings import SyncSettings
from ratesync.rules.link_end import end_after_create, end_after_patch, end_after_read, patched, told


@frozen
class Endings:
    """Settles cases by the answers to their writes."""

    pair: Pair
    settings: SyncSettings
    clock: Clock

    def end(self, case: Case) -> bool:
        """Set what the case's link becomes, None if that is not known yet; True if nothing is left to do."""
        link = case.link
        case.next = None
        assert link is not None  # noqa: S101  its intent was stored
        assert link.intent is not None  # noqa: S101
        for answer in case.answers.values():
            if not isinstance(answer, Applied):
                return self._failed(case, link, answer)
        step = link.intent.step
        if len(case.answers) < len(case.orders):  # not sent: whether it still may be was not known
            case.next = not_made(link, step.side) if isinstance(step, Creating) else None
            return False
        if case.found is not None:
            case.actions.append(case.found.action)
        now = self.clock.now()
        match step:
            case Creating():
                case.next = evolve(self._created(case, link, step), synced_at=now)
            case Deleting(side) if isinstance(case.orders[side], Change):  # it was archived
                case.next = evolve(_finished(link), status=LinkStatus.UNLINKED, synced_at=now)
                return True
            case Deleting(side, version):
                link = link.with_end(side, evolve(link.end(side), version=version))
                case.next = evolve(buried(link, is_ours=True), synced_at=now)
                return True
            case Decided():
                if case.finishes_earlier:
                    case.next = recovered(link, step, self._held_after(case))
                    return False
                case.next = evolve(self._patched(case, link), synced_at=now)
        return all(_is_settled(case.next.end(side), case, side) for side in case.orders)

    def _failed(self, case: Case, link: RecordLink, answer: Outcome) -> bool:
        intent = link.intent
        making = intent.step if intent is not None and isinstance(intent.step, Creating) else None
        match answer:
            case Conflict(reason) if making is not None and making.record_id is None:
                case.leave(reason)  # such as a record of the same key, which is not ours
            case Conflict():
                return False  # look again: the intent tells what was tried
            case Rejected(code=code) if code in GONE_CODES and making is None:
                return False
            case Rejected(reason):
                case.next = quarantined(link, reason, case.held)
                case.reason = reason
                return True
            case RetryLater(reason, _, _):
                case.leave(reason)
                if making is not None:  # surely not made: the next attempt is a creation of its own
                    case.next = not_made(link, making.side)
                    return False
            case _:
                case.leave("the answer to a write was lost")
        if intent is not None and making is not None:  # whatever came of it, the call is over
            making = evolve(making, over_at=self.clock.now())
            case.next = evolve(link, intent=evolve(intent, step=making))
        return False

    def _answer(self, case: Case, side: Side) -> View | None:
        """The record's view by the answer to a write, if it told."""
        answer = case.answers.get(side)
        if not isinstance(answer, Applied) or answer.record is None:
            return None
        try:
            return self.pair.side(side).view(answer.record.fields)
        except Exception:  # noqa: BLE001  a mapping of the host's may raise anything: then the record is read again
            return None

    def _created(self, case: Case, link: RecordLink, step: Creating) -> RecordLink:
        answer = case.answers[step.side]
        assert isinstance(answer, Applied)  # noqa: S101  looked at before
        record_id = answer.record_id or step.record_id
        sent = self.pair.side(step.side).as_stored(None, step.view)
        if record_id is None:
            return evolve(link, status=LinkStatus.AMBIGUOUS_CREATE, trouble="the adapter gave no id of the new record")
        return created(link, step, record_id, sent, version=answer.version, answer=self._answer(case, step.side))

    def _patched(self, case: Case, link: RecordLink) -> RecordLink:
        for side in Side:
            order, held = case.orders.get(side), case.held[side]
            if isinstance(order, Change):
                answer = case.answers[side]
                end = end_after_patch(
                    link.end(side),
                    held,
                    self.pair.side(side).as_stored(held, order.patch),
                    case.untouched,
                    version=answer.version if isinstance(answer, Applied) else None,
                    answer=self._answer(case, side),
                )
            else:
                end = end_after_read(link.end(side), held, case.untouched)
            link = link.with_end(side, end)
        return with_deferred(_finished(link), case.conflicts)

    def _held_after(self, case: Case) -> dict[Side, Held]:
        """What the sides hold after our patches, as far as they are concerned."""
        after: dict[Side, Held] = {}
        for side, held in case.held.items():
            order = case.orders.get(side)
            if isinstance(order, Change):
                stored, answer = self.pair.side(side).as_stored(held, order.patch), self._answer(case, side)
                found = stored if answer is None else told(held.view, stored, answer)
                after[side] = Held(held.record, patched(held.view, found))
            else:
                after[side] = held
        return after


def _is_settled(end: LinkEnd, case: Case, side: Side) -> bool:
    """Whether all that the side holds after our write is known. If not, it is read once more."""
    if end.unconfirmed:
        return False
    has_versions = side not in case.held or case.held[side].version is not None
    return end.version is not None or not has_versions


def created(
    link: RecordLink, step: Creating, record_id: str, sent: View, *, version: str | None, answer: View | None
) -> RecordLink:
    """The link, when its second record is made. The bases are what was sent, whatever became of either record since."""
    source = LinkEnd(link.end(step.side.other).record_id, dict(step.view), step.source_version)
    link = link.with_end(step.side.other, source)
    link = link.with_end(step.side, end_after_create(record_id, sent, version=version, answer=answer))
    return with_deferred(_finished(link), ())


def not_made(link: RecordLink, side: Side) -> RecordLink:
    """The link, when it is known that the record of a side was not made."""
    return evolve(link.with_end(side, LinkEnd()).mended, intent=None)


def _finished(link: RecordLink) -> RecordLink:
    return evolve(link.released.mended, intent=None)


def quarantined(link: RecordLink, reason: str, held: Mapping[Side, Held]) -> RecordLink:
    """The link, set aside until one of its records changes. What was half done shows as a change then.

    :param held: what the records were, as they were read before that.
    """
    step = None if link.intent is None else link.intent.step
    if isinstance(step, Creating):
        link = link.with_end(step.side, LinkEnd())
    return evolve(_finished(link), status=LinkStatus.QUARANTINED, trouble=reason, seen=seen(held))
