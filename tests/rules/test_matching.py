from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ratesync import Applied, Batch, Kind, Lane, Operation, Outcome, Rejected, RetryLater, Unknown
from ratesync.rules.matching import halves, is_refused_whole, match_rows


def operations(*record_ids: str | None) -> list[Operation]:
    return [
        Operation(provider="acme", resource="contacts", kind=Kind.UPSERT, record_id=each, id=f"op{number}")
        for number, each in enumerate(record_ids)
    ]


def batch(*record_ids: str) -> Batch:
    return Batch(Lane("acme"), "contacts", Kind.UPSERT, tuple(operations(*record_ids)))


def match(asked: list[Operation], rows: list[Any]) -> dict[str, Outcome]:
    return match_rows(
        asked,
        rows,
        key_of_operation=lambda operation: operation.record_id,
        key_of_row=lambda row: row.get("id"),
        read=lambda _, row: Applied(row["id"]) if row.get("ok", True) else Rejected("bad"),
    )


@given(st.lists(st.integers(0, 50), unique=True, max_size=20), st.randoms(use_true_random=False))
def test_case_59_rows_in_any_order_with_strangers_are_matched_by_key(numbers: list[int], random: Any) -> None:
    rows: list[Any] = [{"id": str(number), "ok": number % 3 > 0} for number in numbers]
    rows += [{"id": "stranger"}, {"no": "id"}]
    random.shuffle(rows)
    outcomes = match(operations(*map(str, numbers)), rows)
    assert list(outcomes.values()) == [Applied(str(number)) if number % 3 else Rejected("bad") for number in numbers]


def test_case_59_a_missing_row_is_unknown_and_so_is_a_contradiction() -> None:
    rows = [{"id": "a"}, {"id": "c"}, {"id": "c"}, {"id": "d"}, {"id": "d", "ok": False}]
    outcomes = match(operations("a", "b", "c", "d", None), rows)
    assert [type(outcome) for outcome in outcomes.values()] == [Applied, Unknown, Applied, Unknown, Unknown]


def test_case_59_two_operations_of_one_key_cannot_be_told_apart() -> None:
    outcomes = match(operations("a", "a", "b"), [{"id": "a"}, {"id": "b"}])
    assert [type(outcome) for outcome in outcomes.values()] == [Unknown, Unknown, Applied]


def test_only_a_sure_refusal_of_all_is_one() -> None:
    two = batch("a", "b")
    no = Rejected("no")
    assert is_refused_whole(two, {"op0": no, "op1": no})
    for other in (Unknown("?"), RetryLater("later"), Applied()):
        assert not is_refused_whole(two, {"op0": no, "op1": other})
    assert not is_refused_whole(two, {"op0": no})
    assert not is_refused_whole(batch("a"), {"op0": no})


@given(st.integers(2, 30))
def test_halves_are_the_whole(size: int) -> None:
    whole = batch(*map(str, range(size)))
    first, second = halves(whole)
    assert first.operations + second.operations == whole.operations
    assert min(len(first.operations), len(second.operations)) >= size // 2
