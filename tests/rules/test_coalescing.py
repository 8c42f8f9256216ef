from __future__ import annotations

import copy
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.operation import Kind, Operation
from ratesync.rules.coalescing import Pending, Step, fold_head

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WITH_FIELDS = {Kind.CREATE, Kind.UPDATE, Kind.UPSERT}
FOLDED = {
    "create update": "create",
    "update update": "update",
    "upsert update": "upsert",
    "upsert upsert": "upsert",
    "update delete": "delete",
    "upsert delete": "delete",
    "delete delete": "delete",
}

Place = tuple[str, str | None]
Record = dict[str, Any]


class Provider:
    """The records of a provider that remembers idempotency keys of creates, and what its readers saw."""

    def __init__(self) -> None:
        self.records: dict[Place, Record] = {}
        self.seen: list[tuple[Place, Record | None]] = []
        self.created: set[str | None] = set()

    def apply(self, operation: Operation) -> None:
        place = (operation.resource, operation.record_id)
        record = self.records.get(place)
        match operation.kind:
            case Kind.CREATE if operation.idempotency_key not in self.created:
                self.created.add(operation.idempotency_key)
                self.records.setdefault(place, dict(operation.fields))
            case Kind.READ:
                self.seen.append((place, copy.deepcopy(record)))
            case Kind.UPDATE if record is not None:
                record.update(operation.fields)
            case Kind.UPSERT:
                self.records.setdefault(place, {}).update(operation.fields)
            case Kind.DELETE:
                self.records.pop(place, None)
            case _:
                pass


def steps_of(pending: list[Pending]) -> list[Step]:
    steps: list[Step] = []
    while pending:
        steps.append(fold_head(pending))
        pending = pending[steps[-1].count :]
    return steps


def operation(kind: Kind, number: int = 0, **changes: Any) -> Operation:
    attributes: dict[str, Any] = {
        "provider": "acme",
        "resource": "contacts",
        "kind": kind,
        "record_id": "42",
        "fields": {f"f{number}": number, "last": number} if kind in WITH_FIELDS else {},
        "id": f"id{number}",
        "idempotency_key": f"key{number}",
        "correlation_id": f"trace{number}",
    }
    return Operation(**(attributes | changes))


def pending(*kinds: Kind, sent_as: int = 0) -> list[Pending]:
    return [Pending(operation(kind, number), sent_as) for number, kind in enumerate(kinds)]


@st.composite
def mailboxes(draw: st.DrawFn) -> list[Pending]:
    """Pending operations in which no create meets a record that exists, as such a create would be refused."""
    existing = set[Place]()
    mailbox: list[Pending] = []
    drafts = draw(
        st.lists(
            st.tuples(
                st.sampled_from([*Kind, Kind.UPDATE, Kind.UPDATE]),
                st.sampled_from("xxxxy"),
                st.sampled_from("1112"),
                st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=2),
                st.sampled_from([0, 0, 0, 7, 8]),
                st.sampled_from([None, None, None, "v1"]),
                st.none() | st.integers(0, 5),
            ),
            min_size=1,
            max_size=14,
        )
    )
    for number, (drawn, resource, record_id, fields, sent_as, version, hours) in enumerate(drafts):
        place = (resource, record_id)
        kind = Kind.UPSERT if drawn is Kind.CREATE and place in existing else drawn
        if kind in {Kind.CREATE, Kind.UPSERT}:
            existing.add(place)
        elif kind is Kind.DELETE:
            existing.discard(place)
        item = operation(
            kind,
            number,
            resource=resource,
            record_id=record_id,
            fields=fields if kind in WITH_FIELDS else {},
            if_version=version if kind in {Kind.UPDATE, Kind.UPSERT, Kind.DELETE} else None,
            deadline=None if hours is None else NOON + timedelta(hours=hours),
        )
        mailbox.append(Pending(item, sent_as))
    return mailbox


def mark(items: list[Pending], sent_as: int) -> list[Pending]:
    return [Pending(item.operation, sent_as) for item in items]


@given(mailboxes())
def test_folding_leaves_the_records_as_one_by_one_would(mailbox: list[Pending]) -> None:
    one_by_one, folded = Provider(), Provider()
    for item in mailbox:
        one_by_one.apply(item.operation)
    for step in steps_of(mailbox):
        if step.operation is not None:
            folded.apply(step.operation)
    assert folded.records == one_by_one.records
    assert folded.seen == one_by_one.seen


@given(mailboxes(), st.data())
def test_case_58_repeating_what_was_sent_changes_nothing(mailbox: list[Pending], data: st.DataObject) -> None:
    """Each step may be lost before it is applied, or its answer be lost after: it is then marked and sent again."""
    one_by_one, folded = Provider(), Provider()
    for item in mailbox:
        one_by_one.apply(item.operation)
    waiting = mark(mailbox, 0)
    for token in itertools.count(1):
        if not waiting:
            break
        step = fold_head(waiting)
        answer = data.draw(st.sampled_from(["applied", "answer lost", "request lost"])) if token < 30 else "applied"
        if step.operation is not None and answer != "request lost" and step.operation.kind is not Kind.READ:
            folded.apply(step.operation)
        if answer == "applied" or step.operation is None:
            waiting = waiting[step.count :]
        elif waiting[0].sent_as == 0:
            waiting = mark(waiting[: step.count], token) + waiting[step.count :]
    assert folded.records == one_by_one.records


@given(mailboxes())
def test_every_operation_belongs_to_one_step_and_order_is_kept(mailbox: list[Pending]) -> None:
    steps = steps_of(mailbox)
    assert sum(step.count for step in steps) == len(mailbox)
    heads = [mailbox[start].operation for start in itertools.accumulate([0, *(step.count for step in steps[:-1])])]
    for step, head in zip(steps, heads, strict=True):
        assert step.count >= 1
        assert step.operation is None or step.operation.id == head.id


@given(mailboxes())
def test_only_like_operations_fold(mailbox: list[Pending]) -> None:
    step = fold_head(mailbox)
    together = mailbox[: step.count]
    if step.count > 1:
        assert len({item.sent_as for item in together}) == 1
        assert len({(item.operation.resource, item.operation.record_id) for item in together}) == 1
        assert all(item.operation.if_version is None for item in together)
        assert all(item.operation.kind is not Kind.READ for item in together)
    if step.operation is None:
        assert together[0].operation.kind is Kind.CREATE
        assert together[-1].operation.kind is Kind.DELETE
        assert all(item.sent_as == 0 for item in together)


@given(mailboxes())
def test_the_prefix_that_folds_is_the_longest(mailbox: list[Pending]) -> None:
    step = fold_head(mailbox)
    if step.operation is not None:
        counts = {fold_head(mailbox[:length]).count for length in range(step.count + 1, len(mailbox) + 1)}
        assert counts <= {step.count}


@given(mailboxes())
def test_the_folded_operation_keeps_the_first_identity_and_the_latest_rest(mailbox: list[Pending]) -> None:
    step = fold_head(mailbox)
    together = [item.operation for item in mailbox[: step.count]]
    if step.operation is not None:
        merged = step.operation
        assert (merged.id, merged.idempotency_key) == (together[0].id, together[0].idempotency_key)
        assert merged.correlation_id == together[-1].correlation_id
        assert (
            evolve(
                merged,
                kind=together[0].kind,
                fields=together[0].fields,
                deadline=together[0].deadline,
                correlation_id=together[0].correlation_id,
            )
            == together[0]
        )
        deadlines = [each.deadline for each in together]
        assert merged.deadline == (None if None in deadlines else max(filter(None, deadlines)))


@given(mailboxes())
def test_folding_changes_nothing_that_was_given(mailbox: list[Pending]) -> None:
    before = copy.deepcopy(mailbox)
    fold_head(mailbox)
    assert mailbox == before


@given(mailboxes(), mailboxes())
def test_what_was_sent_together_is_repeated_together_whatever_comes_behind(
    mailbox: list[Pending], arrivals: list[Pending]
) -> None:
    unsent = mark(mailbox, 0)
    step = fold_head(unsent)
    if step.operation is not None:
        again = mark(unsent[: step.count], 7) + unsent[step.count :]
        assert fold_head(again) == step
        assert fold_head(again + mark(arrivals, 0)) == step


@given(mailboxes())
def test_nothing_that_may_have_been_sent_is_folded_away(mailbox: list[Pending]) -> None:
    for step in steps_of(mark(mailbox, 7)):
        assert step.operation is not None


@given(mailboxes())
def test_a_lone_operation_is_returned_as_it_is(mailbox: list[Pending]) -> None:
    step = fold_head(mailbox[:1])
    assert step.operation is mailbox[0].operation
    assert step.count == 1


@pytest.mark.parametrize("sent_as", [0, 7])
@pytest.mark.parametrize(("first", "second"), list(itertools.product(Kind, Kind)))
def test_two_neighbours_fold_as_the_table_says(first: Kind, second: Kind, sent_as: int) -> None:
    step = fold_head(pending(first, second, sent_as=sent_as))
    folded = FOLDED.get(f"{first} {second}")
    if (first, second, sent_as) == (Kind.CREATE, Kind.DELETE, 0):
        assert step == Step(None, 2)
    elif folded is None:
        assert step == Step(operation(first, 0), 1)
    else:
        fields = {"f0": 0, "f1": 1, "last": 1} if folded != "delete" else {}
        assert step == Step(operation(Kind(folded), 0, fields=fields, correlation_id="trace1"), 2)


def test_folding_stops_where_a_create_and_its_delete_cancel_out() -> None:
    mailbox = pending(Kind.CREATE, Kind.UPDATE, Kind.DELETE, Kind.DELETE)
    assert fold_head(mailbox) == Step(None, 3)


def test_later_fields_win_and_nested_ones_are_replaced_whole() -> None:
    first = operation(Kind.UPDATE, 0, fields={"a": 1, "address": {"city": "Bonn", "zip": "1"}})
    second = operation(Kind.UPDATE, 1, fields={"b": 2, "address": {"city": "Köln"}})
    merged = fold_head([Pending(first), Pending(second)]).operation
    assert merged is not None
    assert merged.fields == {"a": 1, "b": 2, "address": {"city": "Köln"}}


@pytest.mark.parametrize(
    "changes",
    [{"resource": "deals"}, {"record_id": "43"}, {"record_id": None}, {"if_version": "v1"}],
    ids=lambda changes: next(iter(changes)) + str(next(iter(changes.values()))),
)
def test_what_concerns_another_record_or_has_a_condition_does_not_fold(changes: dict[str, Any]) -> None:
    plain, other = Pending(operation(Kind.UPDATE, 0)), Pending(operation(Kind.UPDATE, 1, **changes))
    assert fold_head([plain, other]).count == 1
    assert fold_head([other, plain]).count == 1


def test_what_was_sent_does_not_fold_with_what_was_not() -> None:
    sent, unsent = Pending(operation(Kind.UPDATE, 0), 7), Pending(operation(Kind.UPDATE, 1), 0)
    assert fold_head([sent, unsent]).count == 1
    assert fold_head([unsent, sent]).count == 1
    assert fold_head([sent, Pending(operation(Kind.UPDATE, 1), 8)]).count == 1


def test_an_operation_counts_as_never_sent_unless_told_otherwise() -> None:
    assert fold_head([Pending(operation(Kind.CREATE)), Pending(operation(Kind.DELETE, 1))]) == Step(None, 2)


def test_an_empty_mailbox_has_no_head() -> None:
    with pytest.raises(IndexError):
        fold_head([])
