"""Whose row is whose: matched by what HubSpot tells, never by position, and never beyond doubt without reason."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import InvalidResponse
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.providers.hubspot.batch_answer import BatchAnswer
from ratesync.providers.hubspot.likeness import match_created
from ratesync.providers.hubspot.problem import Problem
from ratesync.providers.hubspot.properties import agrees, all_agree
from ratesync.testing.strategies import json_values

PROPERTIES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y", "1"]), max_size=3)
CHANCE = st.randoms(use_true_random=False)


def stored(value: str) -> str:
    """A spelling of HubSpot's own."""
    return {"1": "1.0", "x": "X"}.get(value, value)


def record(number: int, properties: dict[str, str]) -> Record:
    return Record(str(number), {"id": str(number), "properties": properties})


@given(st.lists(PROPERTIES, max_size=8), CHANCE)
def test_records_go_to_operations_that_wrote_just_that(sent: list[dict[str, str]], chance: random.Random) -> None:
    written = {f"o{number}": properties for number, properties in enumerate(sent)}
    records = [record(number, {k: stored(v) for k, v in each.items()}) for number, each in enumerate(sent)]
    chance.shuffle(records)
    matched = match_created(written, records)
    assert len({each.record_id for each in matched.values()}) == len(matched)
    for identity, found in matched.items():
        assert written[identity] == sent[int(found.record_id)]


@given(st.lists(PROPERTIES, max_size=6), st.lists(PROPERTIES, max_size=3), st.integers(0, 6), CHANCE)
def test_missing_and_strange_records_make_doubt_and_nothing_worse(
    sent: list[dict[str, str]], strange: list[dict[str, str]], dropped: int, chance: random.Random
) -> None:
    written = {f"o{number}": properties for number, properties in enumerate(sent)}
    records = [record(number, each) for number, each in enumerate([*sent[dropped:], *strange])]
    chance.shuffle(records)
    matched = match_created(written, records)
    assert len({each.record_id for each in matched.values()}) == len(matched)
    assert all(all_agree(written[identity], found.fields["properties"]) for identity, found in matched.items())


def test_records_are_told_apart_where_one_wrote_less_than_another() -> None:
    written = {"small": {"a": "x"}, "large": {"a": "x", "b": "y"}}
    small, large = record(1, {"a": "x"}), record(2, {"a": "x", "b": "y"})
    assert match_created(written, [large, small]) == {"small": small, "large": large}
    assert match_created(written, [large]) == {"large": large}
    assert match_created(written, [small]) == {"small": small}


def test_records_that_nobody_can_have_written_make_doubt() -> None:
    written = {"one": {"a": "x"}, "two": {"a": "x", "b": "y"}}
    assert match_created(written, [record(1, {"a": "x"}), record(2, {"a": "x", "b": "changed"})]) == {}


@pytest.mark.parametrize(
    ("sent", "held", "same"),
    [
        ("", None, True),
        ("", "x", False),
        ("Ada@Example.org ", "ada@example.org", True),
        ("12", "12.0", True),
        ("12", "13", False),
        ("2026-01-31T00:00:00.000Z", "2026-01-31T00:00:00Z", True),
        ("2026-01-31T01:00:00+01:00", "2026-01-31T00:00:00Z", True),
        ("2026-01-31", "2026-01-31", True),
        ("2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z", False),
        ("Bern", None, False),
    ],
)
def test_values_agree_whatever_their_spelling(sent: str, held: str | None, same: bool) -> None:
    assert agrees(sent, held) is same


def updates(*ids: str) -> list[Operation]:
    return [
        Operation.update("hubspot", "deals", identity, {"properties": {}}, id=f"o{number}")
        for number, identity in enumerate(ids)
    ]


def answer(kind: Kind, operations: list[Operation], body: Any, **more: Any) -> list[Outcome]:
    found = BatchAnswer(kind, operations, **more).read(body)
    return [found[each.id or ""] for each in operations]


@given(st.data())
def test_every_operation_has_an_outcome_whatever_comes_back(data: st.DataObject) -> None:
    """Missing, repeated, reordered and foreign rows: an update is applied only if its own record came back."""
    ids = [str(number) for number in range(data.draw(st.integers(1, 6)))]
    rows = [
        {"id": identity, "updatedAt": "now"} for identity in data.draw(st.lists(st.sampled_from([*ids, "77", "88"])))
    ]
    errors: list[dict[str, Any]] = [
        {"category": "OBJECT_NOT_FOUND", "context": {"ids": [identity]}}
        for identity in data.draw(st.lists(st.sampled_from([*ids, "99"]), max_size=3))
    ]
    found = answer(Kind.UPDATE, updates(*ids), {"results": rows, "errors": errors})
    shown, refused = {row["id"] for row in rows}, {error["context"]["ids"][0] for error in errors}
    for identity, outcome in zip(ids, found, strict=True):
        if identity in shown - refused:
            assert outcome == Applied(version="now")
        elif identity in refused - shown:
            assert isinstance(outcome, Rejected)
        else:
            assert isinstance(outcome, Unknown), "nothing was said of it, or two things"


@given(json_values() | st.fixed_dictionaries({"results": json_values(), "errors": json_values()}))
def test_whatever_comes_back_is_an_outcome_or_invalid(body: Any) -> None:
    for kind in Kind:
        operations = [
            Operation(provider="hubspot", resource="cars", kind=kind, record_id="1", id=f"o{n}") for n in "ab"
        ]
        try:
            found = answer(kind, operations, body, unique_property="plate")
        except InvalidResponse:
            continue
        assert not any(isinstance(outcome, Applied) and kind is Kind.UPDATE for outcome in found)


def test_an_error_that_names_nobody_is_that_of_the_only_one_left() -> None:
    error = {"category": "VALIDATION_ERROR", "errors": [{"code": "INVALID_DATE", "in": "closedate", "message": "x"}]}
    body = {"results": [{"id": "1"}], "errors": [error]}
    assert answer(Kind.UPDATE, updates("1", "2"), body) == [
        Applied(),
        Rejected("HubSpot refused it: VALIDATION_ERROR (closedate INVALID_DATE)", "INVALID_DATE"),
    ]
    two = answer(Kind.UPDATE, updates("1", "2", "3"), {"results": [{"id": "1"}], "errors": [error, error]})
    assert Counter(type(outcome) for outcome in two) == {Applied: 1, Unknown: 2}
    extra = answer(Kind.UPDATE, updates("1", "2"), {"results": [{"id": "9"}, {"id": "1"}], "errors": [error]})
    assert isinstance(extra[1], Unknown)


def test_ids_may_be_numbers_and_traces_tell_first() -> None:
    rows = [{"id": 2, "objectWriteTraceId": "o0"}, {"id": 1}, {"id": True}, {"id": ""}]
    creates = [Operation.create("hubspot", "cars", {"properties": {"plate": each}}, id=f"o{each}") for each in "01"]
    found = answer(Kind.CREATE, creates, {"results": rows}, unique_property="plate")
    assert found[0] == Applied("2")
    assert isinstance(found[1], Unknown), "it shows nothing that was written"
    named = {"results": [], "errors": [{"category": "CONFLICT", "context": {"ids": ["1"]}}]}
    assert {type(outcome) for outcome in answer(Kind.CREATE, creates, named)} == {Unknown}, "creates have no ids"


def test_two_writes_to_one_record_cannot_be_told_apart() -> None:
    assert {type(outcome) for outcome in answer(Kind.UPDATE, updates("1", "1"), {"results": [{"id": "1"}]})} == {
        Unknown
    }


@pytest.mark.parametrize(
    ("error", "kind", "outcome"),
    [
        ({"category": "OBJECT_NOT_FOUND"}, Kind.UPDATE, Rejected("HubSpot refused it: OBJECT_NOT_FOUND", "404")),
        ({"category": "OBJECT_NOT_FOUND"}, Kind.DELETE, Applied()),
        (
            {"category": "CONFLICT", "message": "Contact already exists. Existing ID: 12"},
            Kind.CREATE,
            Conflict("HubSpot refused it: CONFLICT; the record 12 has that value", Record("12", {})),
        ),
        ({"category": "CONFLICT", "message": 5}, Kind.CREATE, Conflict("HubSpot refused it: CONFLICT")),
        ({}, Kind.CREATE, Unknown("HubSpot refused it: an error without a category")),
        ({"category": "INTERNAL_ERROR"}, Kind.CREATE, Unknown("HubSpot refused it: INTERNAL_ERROR")),
        ({"category": "<b>"}, Kind.CREATE, Unknown("HubSpot refused it: an error without a category")),
        ({"category": "SOME_NEW_ONE"}, Kind.CREATE, Rejected("HubSpot refused it: SOME_NEW_ONE", "SOME_NEW_ONE")),
    ],
)
def test_errors_of_rows_mean_what_their_category_says(error: Any, kind: Kind, outcome: Outcome) -> None:
    assert Problem.read(error).outcome(kind) == outcome


def test_errors_that_will_pass_are_tried_again() -> None:
    outcome = Problem.read({"category": "RATE_LIMITS"}).outcome(Kind.CREATE)
    assert isinstance(outcome, RetryLater)


@given(st.text(min_size=4), st.sampled_from(["message", "category", "code"]))
def test_no_value_gets_into_a_reason(secret: str, place: str) -> None:
    secret = f"s3cret {secret}"
    error: dict[str, Any] = {
        "category": "VALIDATION_ERROR",
        "message": "no",
        "errors": [{"code": "BAD", "message": secret}],
    }
    invalid = json.dumps([{"message": secret, "error": "INVALID_DATE", "name": "closedate"}], separators=(",", ":"))
    error |= {"message": f"Property values were not valid: {invalid} {secret}"}
    if place == "category":
        error["category"] = secret
    elif place == "code":
        error["errors"] = [{"code": secret, "context": {"propertyName": [secret]}}]
    outcome = Problem.read(error).outcome(Kind.UPDATE)
    assert not isinstance(outcome, Applied)
    assert "s3cret" not in outcome.reason
