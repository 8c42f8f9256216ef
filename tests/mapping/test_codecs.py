"""How single values are translated."""

from __future__ import annotations

import builtins
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.errors import ConfigurationError
from ratesync.mapping import Codec, Refused
from ratesync.mapping.codecs import (
    boolean,
    choice,
    day,
    decimal,
    email,
    html,
    instant,
    integer,
    items,
    number,
    phone,
    record_id,
    text,
    time_of_day,
)
from ratesync.rules.sameness import is_same


def refusal(function: Any, value: Any) -> str:
    with pytest.raises(Refused) as caught:
        function(value)
    if isinstance(value, str) and len(value) > 3:
        assert value not in str(caught.value)
    return caught.value.code


def assert_lawful(codec: Codec, value: Any) -> None:
    """What any line relies on."""
    canonical = codec.canon(value)
    assert is_same(codec.canon(canonical), canonical)
    assert is_same(codec.decode(codec.encode(canonical)), canonical)


BERLIN = ZoneInfo("Europe/Berlin")
INSTANTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.timezones())  # noqa: DTZ001  bounds are naive
DECIMALS = st.decimals(-(10**12), 10**12, places=2) | st.integers(-(10**9), 10**9)
CASES: list[tuple[Codec, st.SearchStrategy[Any]]] = [
    (text(), st.text()),
    (text(strip=True, case="lower", max_length=3, truncate=True), st.text()),
    (text(case="upper"), st.text()),
    (text(case="fold", strip=True), st.text()),
    (text(max_length=2, truncate=True), st.text()),
    (integer(), st.integers()),
    (integer(wire="text"), st.integers(-(10**300), 10**300)),
    (number(), st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)),
    (number(wire="text"), st.floats(allow_nan=False, allow_infinity=False)),
    (decimal(), st.decimals(allow_nan=False, allow_infinity=False, places=7, min_value=-(10**20), max_value=10**20)),
    (decimal(2), DECIMALS | DECIMALS.map(str)),
    (decimal(2, wire="number"), DECIMALS),
    (decimal(2, wire="minor"), DECIMALS),
    (decimal(1, rounding="half_even"), DECIMALS),
    (boolean(), st.booleans()),
    (boolean(true="Y", false="N"), st.booleans()),
    (boolean(true=1, false=0), st.booleans()),
    (choice({"a": "A", "b": 2}), st.sampled_from("ab")),
    (choice({"a": "A", "b": "a"}, unknown="keep"), st.sampled_from("ab") | st.text().filter(lambda name: name != "A")),
    (day(), st.dates() | st.dates().map(str)),
    (day(wire="epoch_ms"), st.dates()),
    (day(wire="epoch_ms_text"), st.dates()),
    (time_of_day(), st.times() | st.times().map(str)),
    (instant(), INSTANTS),
    (instant(precision="us"), INSTANTS),
    (instant(wire="epoch_s"), INSTANTS),
    (instant(wire="epoch_ms"), INSTANTS),
    (instant(wire="epoch_ms_text", precision="s"), INSTANTS),
    (instant(zone=UTC), INSTANTS),
    (instant(zone=timezone(timedelta(hours=5, minutes=30)), precision="us"), INSTANTS),
    (html(), st.text() | st.text("<>ab/ =&;\"'!-script")),
    (html(tags=[]), st.text("<>ab/ =&;\"'")),
    (items(integer(wire="text")), st.lists(st.none() | st.integers(-99, 99))),
    (items(integer(wire="text"), separator=";"), st.lists(st.integers(-99, 99))),
    (record_id(), st.text(min_size=1)),
    (record_id(wire="number"), st.integers(0).filter(lambda identity: identity < 10**30).map(str)),
    (email(), st.emails()),
    (email(case="lower"), st.emails()),
    (email(invalid="keep"), st.text()),
    (email(case="lower", invalid="keep"), st.text() | st.emails()),
    (phone("CH", invalid="keep"), st.text("+0123456789 -()x#;ext=.", max_size=20)),
    (phone(invalid="keep", check="possible"), st.from_regex(r"\+[1-9][0-9]{5,14}", fullmatch=True)),
]


@pytest.mark.parametrize(("codec", "values"), CASES)
def test_what_is_written_is_what_is_read(codec: Codec, values: st.SearchStrategy[Any]) -> None:
    @settings(max_examples=50)
    @given(values)
    def holds(value: Any) -> None:
        try:
            codec.canon(value)
        except Refused:
            return
        assert_lawful(codec, value)

    holds()


ODD = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)


@pytest.mark.parametrize(("codec", "values"), CASES)
def test_whatever_comes_is_translated_or_refused(codec: Codec, values: st.SearchStrategy[Any]) -> None:
    @settings(max_examples=50)
    @given(ODD | values)
    def holds(value: Any) -> None:
        for function in (codec.decode, codec.canon):
            try:
                found = function(value)
            except Refused:
                continue
            assert is_same(codec.canon(found), found)

    holds()


@pytest.mark.parametrize("value", [None, 5, True, 1.5, b"x", ["x"]])
def test_nothing_is_made_text(value: Any) -> None:
    codecs = [
        text(strip=True),
        text(),
        email(),
        phone(),
        html(),
        day(),
        time_of_day(),
        instant(),
        decimal(),
        record_id(),
    ]
    for codec in codecs:
        assert refusal(codec.decode, value) == "type"


@pytest.mark.parametrize(
    ("codec", "value", "code"),
    [
        (boolean(), "false", "type"),
        (boolean(), 1, "type"),
        (boolean(true="true", false="false"), True, "type"),
        (boolean(true=1, false=0), True, "type"),
        (integer(), 5.9, "type"),
        (integer(), "5", "type"),
        (integer(), True, "type"),
        (integer(), float("nan"), "type"),
        (integer(minimum=1), 0, "range"),
        (integer(maximum=1), 2, "range"),
        (integer(minimum=1, maximum=2), 3, "range"),
        (integer(wire="text"), 5, "type"),
        (integer(wire="text"), "5.9", "invalid"),
        (integer(wire="text"), " 5", "invalid"),
        (integer(wire="text"), "1_000", "invalid"),
        (integer(wire="text"), "٥", "invalid"),
        (number(), float("nan"), "invalid"),
        (number(), float("inf"), "invalid"),
        (number(), 10**400, "range"),
        (number(), "1.5", "type"),
        (number(), True, "type"),
        (number(minimum=0), -0.1, "range"),
        (number(wire="text"), 1.5, "type"),
        (number(wire="text"), "nan", "invalid"),
        (number(wire="text"), "1e999", "invalid"),
        (decimal(), "NaN", "invalid"),
        (decimal(), "1,5", "invalid"),
        (decimal(), "1e200", "invalid"),
        (decimal(), 1.5, "type"),
        (decimal(), "1e-99", "range"),
        (decimal(2), "0.125", "precision"),
        (decimal(2), "1e99", "range"),
        (decimal(wire="number"), True, "type"),
        (decimal(wire="number"), "5", "type"),
        (decimal(wire="number"), float("nan"), "invalid"),
        (decimal(2, wire="minor"), 12.5, "type"),
        (choice({"a": "A"}), "B", "unknown_choice"),
        (choice({"a": "A"}), None, "type"),
        (choice({"a": 1}), True, "type"),
        (choice({"a": "A"}, unknown="keep"), 1.5, "type"),
        (text(max_length=2), "abc", "too_long"),
        (day(), "2026-1-31", "invalid"),
        (day(), "2026-02-30", "invalid"),
        (day(), "2026-01-31T00:00:00", "invalid"),
        (day(wire="epoch_ms"), 1, "precision"),
        (day(wire="epoch_ms"), "0", "type"),
        (day(wire="epoch_ms"), 10**18, "range"),
        (day(wire="epoch_ms_text"), "x", "type"),
        (time_of_day(), "25:00:00", "invalid"),
        (time_of_day(), "9:00", "invalid"),
        (instant(), "2026-01-31T09:30:00", "no_zone"),
        (instant(), "yesterday", "invalid"),
        (instant(), "9999-12-31T23:59:59-05:00", "range"),
        (instant(wire="epoch_s"), True, "type"),
        (items(max_items=1), [1, 2], "too_long"),
        (items(), "ab", "type"),
        (items(separator=";"), ["a"], "type"),
        (record_id(), "", "invalid"),
        (record_id(wire="number"), -1, "type"),
        (record_id(wire="number"), True, "type"),
        (record_id(wire="number"), "5", "type"),
        (email(), "not an address", "invalid"),
        (email(), "ada@example..org", "invalid"),
        (email(), f"{'a' * 300}@example.org", "invalid"),
        (phone(), "044 668 18 00", "invalid"),
        (phone("CH"), "hunter2", "invalid"),
        (phone("CH"), "12", "invalid"),
        (phone("CH"), "4" * 300, "invalid"),
    ],
)
def test_what_makes_no_sense_is_refused(codec: Codec, value: Any, code: str) -> None:
    assert refusal(codec.decode, value) == code


@pytest.mark.parametrize(
    ("codec", "value", "code"),
    [
        (integer(), 5.0, "type"),
        (decimal(), 1.5, "type"),
        (decimal(), Decimal("NaN"), "invalid"),
        (decimal(wire="number"), "1234567890.123456", "precision"),
        (choice({"a": "A"}, unknown="keep"), "A", "ambiguous"),
        (day(), datetime(2026, 1, 31, tzinfo=UTC), "type"),
        (time_of_day(), time(1, tzinfo=UTC), "invalid"),
        (instant(), datetime(2026, 1, 31), "no_zone"),  # noqa: DTZ001  what is refused
        (instant(), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "range"),
        (items(separator=";"), ["a;b"], "invalid"),
        (items(separator=";"), [""], "invalid"),
        (items(separator=";"), [None], "invalid"),
        (record_id(wire="number"), "05", "invalid"),
        (record_id(wire="number"), "x", "invalid"),
    ],
)
def test_what_the_host_must_not_give_is_refused(codec: Codec, value: Any, code: str) -> None:
    assert refusal(codec.canon, value) == code


@pytest.mark.parametrize(
    ("codec", "external", "view"),
    [
        (text(strip=True, case="lower"), "  ADA ", "ada"),
        (text(strip=True, max_length=4, truncate=True), "abc def", "abc"),
        (integer(), 5.0, 5),
        (integer(wire="text"), "+5.00", 5),
        (number(wire="text"), ".5", 0.5),
        (decimal(), "012.500", "12.5"),
        (decimal(), "1e3", "1000"),
        (decimal(2), "-0", "0.00"),
        (decimal(2, wire="number"), 0.1, "0.10"),
        (decimal(2, wire="number"), 1e3, "1000.00"),
        (decimal(2, wire="minor"), 1250, "12.50"),
        (decimal(0, rounding="half_up"), "0.5", "1"),
        (decimal(0, rounding="half_even"), "0.5", "0"),
        (boolean(true="Y", false="N"), "N", False),
        (choice(["a", "b"]), "a", "a"),
        (choice({"a": "A"}, unknown="keep"), "B", "B"),
        (day(wire="epoch_ms"), 86_400_000, "1970-01-02"),
        (day(wire="epoch_ms_text"), "-86400000", "1969-12-31"),
        (time_of_day(), "09:30", "09:30:00"),
        (instant(), "2026-01-31T10:30:00.000+0100", "2026-01-31T09:30:00Z"),
        (instant(wire="epoch_ms"), 1500, "1970-01-01T00:00:01.500000Z"),
        (instant(wire="epoch_ms", precision="s"), 1500, "1970-01-01T00:00:01Z"),
        (instant(zone=BERLIN), "2026-07-31 09:30:00", "2026-07-31T07:30:00Z"),
        (instant(zone=BERLIN), "2026-07-31T09:30:00Z", "2026-07-31T09:30:00Z"),
        (items(separator=";"), ";a;;b", ["a", "b"]),
        (items(separator=";"), "", []),
        (record_id(wire="number"), 42, "42"),
        (html(), "<b onclick=x>hi</b><script>x</script>", "<b>hi</b>"),
        (html(tags=[]), "<b>hi</b>", "hi"),
        (email(), "Ada@EXAMPLE.org", "Ada@example.org"),
        (email(case="lower"), "Ada@example.org", "ada@example.org"),
        (email(), "ada@localserver.test", "ada@localserver.test"),
        (email(invalid="keep"), "None", "None"),
        (email(case="lower", invalid="keep"), " N/A", "n/a"),
        (phone("CH"), "044 668 18 00", "+41446681800"),
        (phone(), "+41 44 668 18 00 ext. 12", "+41446681800;ext=12"),
        (phone(), "+41446681800;ext=12", "+41446681800;ext=12"),
        (phone("CH", invalid="keep"), "ask Ada", "ask Ada"),
        (phone("US", check="possible"), "+1 555 0100 000", "+15550100000"),
    ],
)
def test_a_value_of_the_provider_is_read(codec: Codec, external: Any, view: Any) -> None:
    assert is_same(codec.decode(external), view)


def test_amounts_are_written_without_loss() -> None:
    assert is_same(decimal(2, wire="number").encode("0.10"), 0.1)
    assert is_same(decimal(wire="number").encode("12"), 12)
    assert is_same(decimal(2, wire="minor").encode("2.51"), 251)


class Stage(Enum):
    OPEN = "open"


def test_the_host_may_give_what_python_has_for_it() -> None:
    assert decimal(2).canon(Decimal("12.5")) == "12.50"
    assert day().canon(date(2026, 1, 31)) == "2026-01-31"
    assert time_of_day().canon(time(9, 30)) == "09:30:00"
    assert instant().canon(datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=1)))) == "2026-01-31T09:30:00Z"
    assert choice({"open": "O"}).canon(Stage.OPEN) == "open"
    assert items(integer()).canon((1, 2)) == [1, 2]


def test_a_time_that_a_zone_shows_twice_cannot_be_written_without_its_zone() -> None:
    codec = instant(zone=BERLIN)
    assert codec.encode("2026-10-25T00:30:00Z") == "2026-10-25 02:30:00"
    assert refusal(codec.encode, "2026-10-25T01:30:00Z") == "ambiguous"
    assert refusal(codec.encode, "9999-12-31T23:59:59Z") == "range"


@given(INSTANTS)
def test_an_instant_is_read_back_from_local_time_or_refused(moment: datetime) -> None:
    codec = instant(zone=BERLIN, precision="us")
    canonical = codec.canon(moment)
    try:
        spelt = codec.encode(canonical)
    except Refused:
        return
    assert codec.decode(spelt) == canonical


@given(st.from_regex(r"[a-zA-Z0-9._+-]{1,66}@[a-z0-9.-]{1,70}\.(com|org|test|local|onion|xn--p1ai)", fullmatch=True))
def test_usual_addresses_are_judged_as_the_library_does(address: str) -> None:
    try:
        wanted = validate_email(address, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        wanted = None
    assert email(invalid="keep").decode(address) == (address if wanted is None else wanted)
    if wanted is None:
        assert refusal(email().decode, address) == "invalid"


@pytest.mark.parametrize(("make", "package"), [(phone, "phonenumbers"), (email, "email_validator"), (html, "nh3")])
def test_a_package_that_is_not_there_is_named_with_its_extra(
    make: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, package)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"pip install 'ratesync\[mapping\]'"):
        make()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: boolean(true="x", false="x"), "alike"),
        (lambda: choice({"a": "A", "b": "A"}), "same value"),
        (lambda: decimal(wire="minor"), "places"),
        (lambda: phone("Switzerland"), "no region"),
    ],
)
def test_codecs_that_make_no_sense_are_refused(make: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make()


def test_html_that_never_settles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import nh3

    def grow(value: str, tags: object = None) -> str:
        return f"{value}x"

    monkeypatch.setattr(nh3, "clean", grow)
    assert refusal(html().canon, "hunter2") == "invalid"
