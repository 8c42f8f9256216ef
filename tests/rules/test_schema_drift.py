"""What a provider changed in its schema, and what is done about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.schema import DriftDecision, DriftKind, DriftPolicy, FieldDrift, RemoteField, RemoteSchema
from ratesync.rules.schema_drift import (
    choices_in,
    decide_drift,
    find_drift,
    judge_schema,
    unknown_choices,
)

EMAIL = RemoteField("string", max_length=80)
STAGE = RemoteField("picklist", choices=frozenset({"open", "won"}))


def changed(old: RemoteField | None, new: RemoteField | None) -> list[tuple[DriftKind, tuple[str, ...]]]:
    before = RemoteSchema({} if old is None else {"a": old})
    after = RemoteSchema({} if new is None else {"a": new})
    return [(each.kind, each.choices) for each in find_drift(before, after, ["a"])]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (None, EMAIL, [(DriftKind.NEW, ())]),
        (None, RemoteField("string", required=True), [(DriftKind.NEW_REQUIRED, ())]),
        (EMAIL, None, [(DriftKind.GONE, ())]),
        (EMAIL, EMAIL, []),
        (EMAIL, RemoteField("email", max_length=80), [(DriftKind.TYPE, ())]),
        (EMAIL, RemoteField("string", required=True, max_length=80), [(DriftKind.NEW_REQUIRED, ())]),
        (RemoteField("string", required=True), RemoteField("string"), []),
        (EMAIL, RemoteField("string", max_length=40), [(DriftKind.SHORTER, ())]),
        (EMAIL, RemoteField("string", max_length=255), []),
        (EMAIL, RemoteField("string"), []),
        (RemoteField("string"), EMAIL, [(DriftKind.SHORTER, ())]),
        (
            STAGE,
            RemoteField("picklist", choices=frozenset({"open", "won", "lost"})),
            [(DriftKind.CHOICES_NEW, ("lost",))],
        ),
        (
            STAGE,
            RemoteField("picklist", choices=frozenset({"open", "lost"})),
            [(DriftKind.CHOICES_NEW, ("lost",)), (DriftKind.CHOICES_GONE, ("won",))],
        ),
        (STAGE, RemoteField("picklist", choices=frozenset({"open"})), [(DriftKind.CHOICES_GONE, ("won",))]),
        (STAGE, RemoteField("picklist"), []),
        (RemoteField("picklist"), STAGE, [(DriftKind.CHOICES_GONE, ())]),
    ],
)
def test_each_difference_is_named(
    old: RemoteField | None, new: RemoteField | None, found: list[tuple[DriftKind, tuple[str, ...]]]
) -> None:
    assert changed(old, new) == found


@pytest.mark.parametrize(
    ("path", "used", "is_used"),
    [
        ("a.b", "a.b", True),
        ("a", "a.b", True),
        ("a.b", "a", True),
        ("a", "a[0].b", True),
        ("a.b", "a.bc", False),
        ("ab", "a", False),
        ("a", "b", False),
    ],
)
def test_a_field_is_used_if_the_mapping_has_it_or_something_in_or_around_it(
    path: str, used: str, is_used: bool
) -> None:
    (drift,) = find_drift(RemoteSchema({path: EMAIL}), RemoteSchema({}), [used])
    assert drift == FieldDrift(path, DriftKind.GONE, is_used)


def one(kind: DriftKind, *, is_used: bool) -> list[FieldDrift]:
    return [FieldDrift("a", kind, is_used)]


@pytest.mark.parametrize(
    ("kind", "is_used", "evolve", "discard", "left_out"),
    [
        (DriftKind.NEW, False, False, False, True),
        (DriftKind.NEW_REQUIRED, False, True, True, False),
        (DriftKind.NEW_REQUIRED, True, False, False, False),
        (DriftKind.GONE, False, False, False, False),
        (DriftKind.GONE, True, True, False, True),
        (DriftKind.TYPE, False, False, False, False),
        (DriftKind.TYPE, True, True, False, True),
        (DriftKind.SHORTER, True, False, False, False),
        (DriftKind.CHOICES_NEW, True, False, False, False),
        (DriftKind.CHOICES_GONE, True, False, False, False),
    ],
)
def test_what_stops_a_resource_and_what_is_left_out(
    kind: DriftKind, is_used: bool, evolve: bool, discard: bool, left_out: bool
) -> None:
    drift = one(kind, is_used=is_used)
    evolved = decide_drift(drift, DriftPolicy.EVOLVE)
    assert (evolved.stops, evolved.left_out, bool(evolved.reasons)) == (evolve, frozenset(), evolve)
    discarded = decide_drift(drift, DriftPolicy.DISCARD)
    assert (discarded.stops, set(discarded.left_out)) == (discard, {"a"} if left_out else set())
    frozen = decide_drift(drift, DriftPolicy.FREEZE)
    assert (frozen.stops, frozen.reasons) == (True, tuple(drift))


@pytest.mark.parametrize("policy", DriftPolicy)
def test_without_drift_nothing_stops(policy: DriftPolicy) -> None:
    decision = decide_drift([], policy)
    assert not decision.stops
    assert decision.left_out == frozenset()


FIELDS = st.builds(
    RemoteField,
    st.sampled_from(["string", "number"]),
    st.booleans(),
    st.none() | st.frozensets(st.sampled_from("abc")),
    st.none() | st.integers(1, 5),
)
SCHEMAS = st.builds(RemoteSchema, st.dictionaries(st.sampled_from(["x", "y", "z.a"]), FIELDS))


@given(SCHEMAS, SCHEMAS)
def test_only_what_differs_is_told(before: RemoteSchema, after: RemoteSchema) -> None:
    told = {each.path for each in find_drift(before, after, [])}
    same = {path for path, described in before.fields.items() if after.fields.get(path) == described}
    assert not told & same
    assert told >= before.fields.keys() ^ after.fields.keys()
    assert find_drift(before, before, []) == ()


def test_values_that_the_schema_does_not_know_are_found() -> None:
    schema = RemoteSchema({"stage": STAGE, "tags": STAGE, "email": EMAIL})
    values = {"stage": "lost", "tags": ["open", "new", "lost"], "email": "x", "unknown": "y"}
    assert unknown_choices(schema, values) == (
        FieldDrift("stage", DriftKind.CHOICES_NEW, is_used=True, choices=("lost",)),
        FieldDrift("tags", DriftKind.CHOICES_NEW, is_used=True, choices=("lost", "new")),
    )
    assert unknown_choices(schema, {"stage": "won", "tags": None}) == ()


def test_choices_that_records_hold_as_numbers_are_found_too() -> None:
    schema = RemoteSchema({"label": RemoteField("set", choices=frozenset({"27", "28"}))})
    (drift,) = unknown_choices(schema, {"label": [27, 31, True, 2.5, None, "30"]})
    assert drift.choices == ("30", "31")
    assert unknown_choices(schema, {"label": 28}) == ()


def test_the_first_schema_is_accepted_as_it_is() -> None:
    schema = RemoteSchema({"a": EMAIL})
    judged = judge_schema(None, schema, {"a"}, DriftPolicy.FREEZE)
    assert (judged.accepted, judged.drift, judged.decision) == (schema, (), DriftDecision(False, frozenset(), ()))


@pytest.mark.parametrize(
    ("policy", "is_accepted"), [(DriftPolicy.EVOLVE, True), (DriftPolicy.DISCARD, False), (DriftPolicy.FREEZE, False)]
)
def test_what_neither_stops_nor_is_left_out_is_accepted(policy: DriftPolicy, *, is_accepted: bool) -> None:
    before, after = RemoteSchema({"a": EMAIL}), RemoteSchema({"a": EMAIL, "b": EMAIL})
    judged = judge_schema(before, after, {"a"}, policy)
    assert judged.accepted == (after if is_accepted else before)
    assert [each.path for each in judged.drift] == ["b"]


def test_choices_are_looked_for_where_a_record_has_them() -> None:
    schema = RemoteSchema({"p.stage": STAGE, "p.email": EMAIL, "p.other": STAGE})
    used = {"p.stage", "p.email", "p.gone", "p.other"}
    assert choices_in(schema, {"p": {"stage": "lost", "email": "x"}}, used) == {"p.stage": "lost"}
    assert choices_in(schema, {"p": 7}, used) == {}
