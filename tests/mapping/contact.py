"""A contact with every kind of line, and what a provider has for it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from ratesync.mapping import Computed, Field, FirstOf, Join, Mapping, Ref, Split
from ratesync.mapping.codecs import boolean, choice, day, decimal, instant, integer, items, record_id, text

CONTACT = Mapping(
    Field("email", "properties.email", text(strip=True, case="lower"), match_key=True),
    Field("nickname", "properties.nick", null_as=""),
    Field("language", "properties.language", default="en"),
    Field("amount", "properties.amount", decimal(2)),
    Field("stage", "properties.stage", choice({"open": "O", "won": "W"})),
    Field("age", "properties.age", integer(wire="text")),
    Field("active", "properties.active", boolean(true="true", false="false")),
    Field("born", "born", day()),
    Field("seen_at", "meta.seen.at", instant()),
    Field("tags", "properties.tags", items(separator=";")),
    Field("street", "addresses[0].street"),
    FirstOf("phone", "phones"),
    FirstOf("work_email", "emails", item="value", where={"label": "work"}, new={"primary": False}),
    Split("full_name", ("properties.first", "properties.last")),
    Join(("city", "region"), "place"),
    Ref("company_id", "company.id", record_id(wire="number"), resource="companies"),
    Field("score", "score", direction="pull"),
    Field("source", "properties.source", direction="push"),
    Computed("properties.display", lambda view: view.get("full_name"), direction="push"),
    Computed("is_new", lambda record: "id" not in record, direction="pull"),
)

WORDS = st.text(max_size=6)
NULL = st.none()


def some(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


INSTANTS = st.sampled_from(["2026-01-31T09:30:00.000+0000", "2026-01-31T09:30:00.123456Z", "2026-01-31T10:30:00+01:00"])
EMAILS = some(value=NULL | WORDS, label=st.sampled_from(["work", "home"]), primary=st.booleans())
RECORDS = some(
    id=st.integers(0),
    properties=NULL
    | some(
        email=NULL | WORDS,
        nick=NULL | WORDS,
        language=NULL | WORDS,
        amount=NULL | st.sampled_from(["1", "1.5", "-2.25", "1e2", "0.00"]),
        stage=NULL | st.sampled_from("OW"),
        age=NULL | st.sampled_from(["5", "+7", "8.0", "-1"]),
        active=NULL | st.sampled_from(["true", "false"]),
        tags=NULL | st.sampled_from(["", "red", "red;blue", ";red;"]),
        first=NULL | WORDS,
        last=NULL | WORDS,
        source=WORDS,
        display=WORDS,
        unknown=WORDS,
    ),
    born=NULL | st.dates().map(str),
    meta=NULL | some(seen=NULL | some(at=NULL | INSTANTS, by=WORDS)),
    addresses=NULL | st.lists(some(street=NULL | WORDS, city=WORDS), max_size=2),
    phones=NULL | st.lists(NULL | WORDS, max_size=3),
    emails=NULL | st.lists(EMAILS, max_size=3),
    place=NULL | WORDS,
    company=NULL | some(id=NULL | st.integers(0, 99), name=WORDS),
    score=st.integers(),
    unknown=st.lists(WORDS),
)
VIEWS = some(
    email=NULL | WORDS,
    nickname=NULL | WORDS,
    language=NULL | WORDS,
    amount=NULL | st.sampled_from(["1", "2.50", Decimal("3.1"), 4, "-0"]),
    stage=NULL | st.sampled_from(["open", "won"]),
    age=NULL | st.integers(-9, 99),
    active=NULL | st.booleans(),
    born=NULL | st.dates() | st.dates().map(str),
    seen_at=NULL | st.datetimes(datetime(1800, 1, 1), timezones=st.just(UTC)) | INSTANTS,  # noqa: DTZ001  bounds are naive
    tags=NULL | st.lists(st.sampled_from(["red", "blue", "a b"]), max_size=3),
    street=NULL | WORDS,
    phone=NULL | WORDS,
    work_email=NULL | WORDS,
    full_name=NULL | WORDS,
    city=NULL | WORDS,
    region=NULL | WORDS,
    company_id=NULL | st.integers(0, 99).map(str),
    source=WORDS,
)


def within(record: dict[str, Any], *names: str) -> dict[str, Any]:
    """The object at a place, empty if there is none."""
    for name in names:
        record = record.get(name) or {}
    return record


def entries(record: dict[str, Any], name: str) -> list[Any]:
    found: list[Any] = record.get(name) or []
    return found


def unmapped(record: dict[str, Any]) -> dict[str, Any]:
    """What no line writes."""
    return {
        "outer": {name: record[name] for name in ("id", "score", "unknown") if name in record},
        "inner": within(record, "properties").get("unknown"),
        "deep": within(record, "meta", "seen").get("by"),
        "rest": [entry.get("city") for entry in entries(record, "addresses") if "city" in entry],
        "tail": entries(record, "phones")[1:],
        "others": [entry for entry in entries(record, "emails") if entry.get("label") != "work"],
        "company": within(record, "company").get("name"),
    }
