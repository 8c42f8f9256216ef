from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import InvalidOperation, InvalidPayload, UnknownProvider, UnsupportedOperation
from ratesync.model.batch import Capabilities, ConditionalWrite
from ratesync.model.operation import Kind, Operation
from ratesync.model.policy import PayloadLimits
from ratesync.rules.admissible import MAX_ID, MAX_NAME, check_operation

LIMITS = PayloadLimits()
KNOWN = {
    "acme": Capabilities(conditional_write=ConditionalWrite.STRONG),
    "plain": Capabilities(kinds=frozenset({Kind.READ, Kind.UPDATE})),
}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WITH_FIELDS = [Kind.CREATE, Kind.UPDATE, Kind.UPSERT]
TEXTS = {
    "provider": MAX_NAME,
    "resource": MAX_NAME,
    "connection": MAX_NAME,
    "record_id": MAX_ID,
    "id": MAX_NAME,
    "key": MAX_NAME,
    "idempotency_key": MAX_ID,
    "correlation_id": MAX_NAME,
    "if_version": MAX_NAME,
}
NEEDED = {"provider", "resource", "connection", "record_id"}


def operation(kind: Kind = Kind.UPDATE, **changes: Any) -> Operation:
    return changed(
        Operation(
            provider="acme",
            resource="contacts",
            record_id="42",
            kind=kind,
            fields={"email": "ada@example.org"} if kind in WITH_FIELDS else {},
        ),
        changes,
    )


def changed(wanted: Operation, changes: dict[str, Any]) -> Operation:
    """The operation with other attributes, also of types that a type checker would not allow."""
    return evolve(wanted, **changes)


def check(value: object) -> None:
    check_operation(value, KNOWN, LIMITS, "operations[3]")


def problem_of(value: object, error: type[InvalidOperation] = InvalidOperation) -> InvalidOperation:
    with pytest.raises(InvalidOperation) as caught:
        check(value)
    assert type(caught.value) is error
    return caught.value


class Name(StrEnum):
    ACME = "acme"


class Rank(IntEnum):
    FIRST = 1


names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=MAX_NAME)
instants = st.datetimes(datetime(1972, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def admissible(draw: st.DrawFn) -> Operation:
    kind = draw(st.sampled_from(Kind))
    not_before, deadline = sorted(draw(st.lists(instants, min_size=2, max_size=2, unique=True)))
    return operation(
        kind,
        resource=draw(names),
        connection=draw(names),
        record_id=draw(names | st.none()) if kind is Kind.CREATE else draw(names),
        fields=draw(st.dictionaries(names, names)) if kind in WITH_FIELDS else {},
        id=draw(st.none() | names),
        key=draw(st.none() | names),
        priority=draw(st.integers(-100, 100)),
        not_before=draw(st.sampled_from([None, not_before])),
        deadline=draw(st.sampled_from([None, deadline])),
        idempotency_key=draw(st.none() | names),
        correlation_id=draw(st.none() | names),
        if_version=draw(st.none() | names) if kind in {Kind.UPDATE, Kind.UPSERT, Kind.DELETE} else None,
    )


@given(admissible())
def test_a_well_formed_operation_is_accepted(wanted: Operation) -> None:
    check(wanted)


@given(admissible(), st.sampled_from(sorted(TEXTS)), st.sampled_from(["", "\0", "a\nb", "\x7f", "\ud800", 7, b"x"]))
def test_one_bad_text_is_enough_to_refuse_any_operation(wanted: Operation, name: str, bad: object) -> None:
    assert problem_of(changed(wanted, {name: bad})).path == f"operations[3].{name}"


@pytest.mark.parametrize("value", [None, 1, "update", {"provider": "acme"}, Operation])
def test_case_69_only_operations_are_accepted(value: object) -> None:
    problem = problem_of(value)
    assert problem.path == "operations[3]"
    assert "must be an Operation" in problem.problem


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    ("bad", "hint"),
    [
        ("", "1 to "),
        ("x" * 513, "not 513"),
        ("a\tb", "control character"),
        ("a\0b", "control character"),
        ("\x85", "control character"),
        ("a\udfff", "surrogate"),
        (42, "must be a str, not <int>"),
        (b"x", "must be a str, not <bytes>"),
        ([], "must be a str, not <list>"),
    ],
)
def test_cases_66_69_a_bad_text_is_refused_with_its_place(name: str, bad: object, hint: str) -> None:
    problem = problem_of(changed(operation(), {name: bad}))
    assert problem.path == f"operations[3].{name}"
    assert hint in problem.problem


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_none_is_accepted_where_a_text_may_be_missing(name: str) -> None:
    if name in NEEDED:
        assert problem_of(changed(operation(), {name: None})).problem == "is missing"
    else:
        check(changed(operation(), {name: None}))


@pytest.mark.parametrize(("name", "most"), [item for item in TEXTS.items() if item[0] != "provider"])
def test_a_text_may_be_as_long_as_its_limit_and_no_longer(name: str, most: int) -> None:
    check(changed(operation(), {name: "ü" * most}))
    check(changed(operation(), {name: "\u200d" * most}))
    assert f"1 to {most}" in problem_of(changed(operation(), {name: "ü" * (most + 1)})).problem


@pytest.mark.parametrize("text", ["a\u200db", "\u202e", "\u00a0", "\ue000", "👩‍👩‍👧", "a b"])
def test_case_66_unusual_but_sound_text_is_accepted(text: str) -> None:
    check(operation(record_id=text, key=text))


def test_an_unknown_provider_is_refused_and_the_known_ones_are_named() -> None:
    problem = problem_of(operation(provider="amce"), UnknownProvider)
    assert problem.path == "operations[3].provider"
    assert "acme, plain" in problem.problem
    with pytest.raises(UnknownProvider, match="known: none"):
        check_operation(operation(), {}, LIMITS, "operation")


def test_members_of_a_str_enum_are_texts() -> None:
    check(operation(provider=Name.ACME, resource=Name.ACME, key=Name.ACME))


@pytest.mark.parametrize("kind", ["update", None, "merge", Name.ACME])
def test_case_69_the_kind_must_be_a_kind(kind: object) -> None:
    problem = problem_of(changed(operation(), {"kind": kind}))
    assert problem.path == "operations[3].kind"
    assert "must be a Kind" in problem.problem


@pytest.mark.parametrize(("provider", "kind"), list(itertools.product(KNOWN, Kind)))
def test_a_kind_must_be_among_the_capabilities(provider: str, kind: Kind) -> None:
    wanted = operation(kind, provider=provider)
    if kind in KNOWN[provider].kinds:
        check(wanted)
    else:
        problem = problem_of(wanted, UnsupportedOperation)
        assert problem.path == "operations[3].kind"
        assert f"cannot {kind}; it can: read, update" in problem.problem


def test_a_provider_that_can_nothing_says_so() -> None:
    with pytest.raises(UnsupportedOperation, match="it can: nothing"):
        check_operation(operation(), {"acme": Capabilities(kinds=frozenset())}, LIMITS, "operation")


@pytest.mark.parametrize("kind", Kind)
def test_only_a_create_may_lack_the_record_id(kind: Kind) -> None:
    if kind is Kind.CREATE:
        check(operation(kind, record_id=None))
    else:
        assert problem_of(operation(kind, record_id=None)).path == "operations[3].record_id"


@pytest.mark.parametrize("kind", Kind)
def test_reads_and_deletes_carry_no_fields(kind: Kind) -> None:
    wanted = operation(kind, fields={"a": 1})
    if kind in WITH_FIELDS:
        check(wanted)
    else:
        assert problem_of(wanted).path == "operations[3].fields"


@pytest.mark.parametrize("kind", Kind)
def test_only_a_change_may_depend_on_a_version(kind: Kind) -> None:
    wanted = operation(kind, if_version='"v1"')
    if kind in {Kind.UPDATE, Kind.UPSERT, Kind.DELETE}:
        check(wanted)
    else:
        assert problem_of(wanted).path == "operations[3].if_version"


def test_a_condition_needs_a_provider_that_compares_versions() -> None:
    problem = problem_of(operation(provider="plain", if_version="1"), UnsupportedOperation)
    assert problem.path == "operations[3].if_version"


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("fields", [None, [], 7, {1: 2}, {"a": float("nan")}, {"a": {"b": b""}}])
def test_cases_65_to_69_bad_fields_are_refused_for_every_kind(kind: Kind, fields: object) -> None:
    error = InvalidPayload if kind in WITH_FIELDS or not fields else InvalidOperation
    assert problem_of(operation(kind, fields=fields), error).path.startswith("operations[3].fields")


@pytest.mark.parametrize("priority", [101, -101, 10**30, True, False, 1.0, "high", None])
def test_case_69_the_priority_is_an_int_within_bounds(priority: object) -> None:
    problem = problem_of(operation(priority=priority))
    assert problem.path == "operations[3].priority"
    assert "from -100 to 100" in problem.problem


@pytest.mark.parametrize("priority", [100, -100, 0, Rank.FIRST])
def test_members_of_an_int_enum_are_priorities(priority: int) -> None:
    check(operation(priority=priority))


@pytest.mark.parametrize("name", ["not_before", "deadline"])
@pytest.mark.parametrize(
    ("bad", "hint"),
    [
        (datetime(2026, 1, 1), "time zone: add one"),  # noqa: DTZ001
        (1767225600.0, "must be a datetime, not <float>"),
        ("2026-01-01", "must be a datetime, not <str>"),
        (NOON.date(), "must be a datetime, not <date>"),
        (datetime(1970, 1, 1, tzinfo=UTC), "1971 to 9998"),
        (datetime.max.replace(tzinfo=UTC), "1971 to 9998"),
    ],
)
def test_an_instant_must_be_an_aware_datetime(name: str, bad: object, hint: str) -> None:
    problem = problem_of(changed(operation(), {name: bad}))
    assert problem.path == f"operations[3].{name}"
    assert hint in problem.problem


@pytest.mark.parametrize("year", [1971, 9998])
def test_the_outermost_instants_can_be_stored(year: int) -> None:
    from ratesync.codec import decode_operation, encode_operation

    for zone in (timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))):
        at = datetime(year, 1 if year < 2000 else 12, 1 if year < 2000 else 31, 23, 59, tzinfo=zone)
        wanted = operation(not_before=at, deadline=at + timedelta(minutes=0.5))
        check(wanted)
        assert decode_operation(encode_operation(wanted), wanted.lane, "id").not_before == at


@pytest.mark.parametrize("later", [timedelta(0), timedelta(seconds=-1)])
def test_a_deadline_must_be_later_than_not_before(later: timedelta) -> None:
    assert problem_of(operation(not_before=NOON, deadline=NOON + later)).path == "operations[3].deadline"
    check(operation(not_before=NOON, deadline=NOON + timedelta(seconds=1)))


def test_the_error_never_tells_the_value() -> None:
    for bad in ("hunter2\0", "hunter2" * 100, "hunter2\ud800"):
        assert "hunter2" not in str(problem_of(operation(record_id=bad)))
    assert "hunter2" not in str(problem_of(operation(provider="hunter2"), UnknownProvider))
    assert "hunter2" not in str(problem_of(operation(fields={"password": b"hunter2"}), InvalidPayload))


def test_the_limits_are_the_documented_ones() -> None:
    assert (MAX_NAME, MAX_ID) == (255, 512)


def test_a_huge_text_is_refused_by_its_length_alone() -> None:
    assert "not 10000000" in problem_of(operation(record_id="x" * 10_000_000)).problem
