from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import InvalidPayload
from ratesync.model.operation import Operation
from ratesync.model.policy import PayloadLimits
from ratesync.rules.payload import MAX_DIGITS, check_fields

LIMITS = PayloadLimits()
CANARY = "hunter2"

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20)
records = st.dictionaries(text, values)
flat_records = st.dictionaries(text, scalars)


class Colour(Enum):
    RED = 1


class Word(StrEnum):
    YES = "yes"


class Level(IntEnum):
    HIGH = 9


class Point(NamedTuple):
    x: int
    y: int


FAULTS: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    "\ud800",
    f"{CANARY}\udfff",
    10**MAX_DIGITS,
    -(10**MAX_DIGITS),
    {1: "x"},
    {None: "x"},
    {b"x": "x"},
    {"\udc80": "x"},
    datetime(2026, 1, 1, tzinfo=UTC),
    date(2026, 1, 1),
    time(1, 2),
    timedelta(1),
    Decimal("1.5"),
    b"x",
    bytearray(b"x"),
    {1, 2},
    frozenset({1}),
    Colour.RED,
    MappingProxyType({"a": 1}),
    Fraction(1, 2),
    1j,
    object(),
    range(3),
    len,
]


def problem_of(fields: object, limits: PayloadLimits = LIMITS) -> InvalidPayload:
    with pytest.raises(InvalidPayload) as caught:
        check_fields(fields, limits, "operation.fields")
    return caught.value


def is_refused(fields: object, limits: PayloadLimits = LIMITS) -> bool:
    try:
        check_fields(fields, limits, "operation.fields")
    except InvalidPayload:
        return True
    return False


@given(records)
def test_json_is_accepted_and_comes_back_unchanged(fields: dict[str, Any]) -> None:
    check_fields(fields, LIMITS, "operation.fields")
    assert json.loads(json.dumps(fields, allow_nan=False, ensure_ascii=False).encode()) == fields


ACCEPTED: list[Mapping[str, Any]] = [
    {},
    {"": None},
    {"point": Point(1, 2), "tuple": (1, (2,))},
    {"word": Word.YES, "level": Level.HIGH, Word.YES: 1},
    OrderedDict(a=1),
    MappingProxyType({"a": {"b": [1]}}),
    {"zero": -0.0, "huge": 1.7e308, "tiny": 5e-324},
    {f"n{i}": i for i in range(1_000)},
]


@pytest.mark.parametrize("fields", ACCEPTED)
def test_what_json_can_write_is_accepted(fields: Mapping[str, Any]) -> None:
    check_fields(fields, LIMITS, "operation.fields")
    assert json.dumps(dict(fields), allow_nan=False)


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{n}-{type(fault).__name__}" for n, fault in enumerate(FAULTS)])
def test_cases_65_66_69_a_fault_is_refused_and_its_place_is_named(fault: object) -> None:
    assert problem_of({"ok": 1, "bad": fault}).path.startswith("operation.fields.bad")
    assert problem_of({"a": [0, {"b": [fault]}]}).path.startswith("operation.fields.a[1].b[0]")
    assert problem_of(MappingProxyType({"bad": fault})).path.startswith("operation.fields.bad")


@given(st.data())
def test_a_fault_is_found_wherever_it_is(data: st.DataObject) -> None:
    fields: Any = data.draw(st.sampled_from(FAULTS))
    expected = ""
    for is_list in data.draw(st.lists(st.booleans(), max_size=8)):
        before = data.draw(st.lists(scalars, max_size=3))
        fields = [*before, fields, None] if is_list else {"before": before, "a": fields, "behind": 1}
        expected = (f"[{len(before)}]" if is_list else ".a") + expected
    assert problem_of({"root": fields}).path.startswith(f"operation.fields.root{expected}")


@given(flat_records, st.none() | st.tuples(text, st.sampled_from(FAULTS)))
def test_the_hot_path_decides_as_the_thorough_one(fields: dict[str, Any], fault: tuple[str, object] | None) -> None:
    fields |= {} if fault is None else dict([fault])
    assert is_refused(fields) is is_refused(MappingProxyType(fields)) is (fault is not None)


HINTS: list[tuple[Any, str]] = [
    (datetime(2026, 1, 1, tzinfo=UTC), "isoformat"),
    (date(2026, 1, 1), "isoformat"),
    (timedelta(1), "total_seconds"),
    (Decimal(1), r"str\(value\)"),
    (b"x", "base64"),
    ({1}, "sorted"),
    (Colour.RED, r"value\.value"),
    (MappingProxyType({}), "dict"),
    (object(), "str, int, float, bool, None, list or dict"),
    (math.nan, "None or a str"),
    ({1: 2}, r"str\(key\)"),
    ([10**MAX_DIGITS], "4300 digits"),
    ("\ud800", "surrogate"),
    ({"\ud800": 1}, "surrogate"),
]


@pytest.mark.parametrize(("fault", "hint"), HINTS)
def test_the_error_says_what_to_do(fault: object, hint: str) -> None:
    with pytest.raises(InvalidPayload, match=hint):
        check_fields({"field": fault}, LIMITS, "operation.fields")


@pytest.mark.parametrize("fault", [f"{CANARY}\ud800", Decimal(712345), {1: CANARY}, CANARY.encode(), {712345}])
def test_the_error_never_tells_the_value(fault: object) -> None:
    problem = str(problem_of({"field": fault}))
    assert CANARY not in problem
    assert "712345" not in problem


@pytest.mark.parametrize("fields", [None, 1, "text", [("a", 1)], b"{}", object()])
def test_case_69_fields_must_be_a_mapping(fields: object) -> None:
    problem = problem_of(fields)
    assert problem.path == "operation.fields"
    assert "mapping" in problem.problem


@pytest.mark.parametrize("fields", [{1: 2}, {"a": 1, 2: 3}, {None: 1}, {("a",): 1}])
def test_a_key_that_is_not_a_str_is_refused(fields: object) -> None:
    assert problem_of(fields).path == "operation.fields"


@pytest.mark.parametrize("fields", [{"\ud800": 1}, {"a": 1, "b\udfff": "x"}, {"ü\udc80": None}])
def test_case_66_a_key_with_a_lone_surrogate_is_refused(fields: object) -> None:
    assert "surrogate" in problem_of(fields).problem


def test_case_66_nul_and_bidi_characters_are_accepted() -> None:
    check_fields({"nul": "a\0b", "bidi\u202e": "\u2066abc\u2069", "name\0": ["\u200f"]}, LIMITS, "operation.fields")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("name", ".name"),
        ("größe", ".größe"),
        ("first name", "['first name']"),
        ("", "['']"),
        ("a\nb\x1b", r"['a\nb\x1b']"),
        ("\udc80", r"['\udc80']"),
        ("\u202e", r"['\u202e']"),
        ("n" * 300, "['" + "n" * 40 + "...']"),
    ],
)
def test_a_place_is_safe_to_print(name: str, place: str) -> None:
    path = problem_of({name: [math.nan]}).path
    assert path.encode()
    assert path in {f"operation.fields{place}", f"operation.fields{place}[0]"}


@given(st.lists(st.booleans(), max_size=199))
def test_nesting_is_allowed_up_to_the_limit_and_no_deeper(lists: list[bool]) -> None:
    fields: Any = 1
    for is_list in lists:
        fields = [fields] if is_list else {"a": fields}
    depth = 1 + len(lists)
    check_fields({"a": fields}, PayloadLimits(max_depth=depth), "operation.fields")
    assert is_refused({"a": [fields]}, PayloadLimits(max_depth=depth))


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_case_67_deep_nesting_is_refused_without_using_the_stack(depth: int) -> None:
    lists: list[Any] = []
    objects: dict[str, Any] = {}
    for _ in range(depth):
        lists = [lists]
        objects = {"a": objects}
    assert "nested deeper than 64" in problem_of({"a": lists}).problem
    assert "nested deeper than 64" in problem_of(objects).problem


def test_what_contains_itself_is_refused() -> None:
    fields: dict[str, Any] = {}
    fields["self"] = [fields] * 10
    assert "contains itself" in problem_of(fields).problem


def test_case_67_a_number_of_five_thousand_digits_is_refused() -> None:
    assert "digits" in problem_of({"n": 10**5_000}).problem
    check_fields({"n": 10**MAX_DIGITS - 1, "m": [1 - 10**MAX_DIGITS]}, LIMITS, "operation.fields")


def test_what_is_shared_many_times_over_is_refused_before_it_costs_anything() -> None:
    bomb: Any = "x" * 10
    for _ in range(40):
        bomb = [bomb] * 10
    assert "larger than 1048576 bytes" in problem_of({"bomb": bomb}).problem


@pytest.mark.parametrize(
    "fields",
    [
        {"a": "x" * 10_000_000},
        {"x" * 2_000_000: [1]},
        {"a": {"x" * 2_000_000: 1}},
        {"a": [10**4_000] * 1_000},
        {"a": [None] * 2_000_000},
        {f"n{i}": "x" * 4_000 for i in range(1_000)},
    ],
)
def test_case_68_what_is_surely_too_large_is_refused(fields: dict[str, Any]) -> None:
    problem = problem_of(fields)
    assert "larger than 1048576 bytes" in problem.problem
    assert problem.path == "operation.fields"


@given(records)
def test_case_68_nothing_is_refused_that_fits(fields: dict[str, Any]) -> None:
    size = len(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode())
    check_fields(fields, PayloadLimits(max_bytes=max(size, 1)), "operation.fields")


@given(records)
def test_whatever_is_accepted_can_be_stored(fields: dict[str, Any]) -> None:
    from ratesync.codec import decode_operation, encode_operation

    operation = Operation.update("acme", "contacts", "42", fields)
    stored = decode_operation(encode_operation(operation), operation.lane, "id")
    assert stored.fields == fields
