"""The ready mappings keep the laws, with servers that store as the providers do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from ratesync.mapping import Field, InvalidFields, Mapping
from ratesync.mapping.codecs import integer
from ratesync.mapping.ready import hubspot, pipedrive, salesforce
from ratesync.testing.lens_laws import assert_lens_laws
from tests.mapping.contact import NULL, some

Data = dict[str, Any]
Strategy = st.SearchStrategy[Any]

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8)
NAMES = WORDS.filter(lambda word: bool(word.strip()))
BLANKS = st.sampled_from(["", " "]) | WORDS
EMAILS = st.sampled_from(["ada@example.org", "Ada@Example.ORG", " bob@example.com", "N/A", "Ada@corp.local"])
PHONES = st.sampled_from(["+41446681800", "044 668 18 00", "ask Ada", "+1 650-253-0000 ext. 5"])
INSTANTS = st.sampled_from(["2026-01-31T09:30:00.000+0000", "2026-01-31T09:30:00Z"])
DAYS = st.dates().map(str)
IDS = st.integers(1, 99)
VIEW: dict[str, Strategy] = {
    "email": NULL | EMAILS | st.just(""),
    "phone": NULL | PHONES,
    "mobile_phone": NULL | PHONES,
    "employees": NULL | st.integers(0, 10_000),
    "annual_revenue": NULL | st.sampled_from(["1000", "2.5", 7]),
    "amount": NULL | st.sampled_from(["1", "2.50", 12]),
    "currency": NULL | st.sampled_from(["EUR", "chf"]),
    "probability": NULL | st.integers(0, 100) | st.floats(0, 100),
    "closes_on": DAYS,
    "status": st.sampled_from(["open", "won", "lost", "postponed"]),
    "stage": NAMES,
    "name": NAMES,
    "last_name": NAMES,
}
"""Values of the view by name; other names are text."""


def views(mapping: Mapping, *required: str, ids: Strategy, **special: Strategy) -> st.SearchStrategy[Data]:
    names = {name: VIEW.get(name, NULL | BLANKS) for name in mapping.names - mapping.read_only}
    names |= dict.fromkeys(mapping.refs.keys() & names, NULL | ids)
    names |= {name: values for name, values in special.items() if name in names}
    return st.fixed_dictionaries(
        {name: names[name] for name in required},
        optional={name: values for name, values in names.items() if name not in required},
    )


def salesforce_echo(record: Data) -> Data:
    def stored(value: Any) -> Any:
        if isinstance(value, str):
            return value.strip() or None
        return float(value) if value.__class__ is int else value

    return {name: stored(value) for name, value in record.items()} | {"Id": "003A", "attributes": {"type": "x"}}


def hubspot_echo(record: Data) -> Data:
    sent: Data = record.get("properties") or {}
    properties: Data = {name: value or None for name, value in sent.items()}
    if properties.get("email"):
        properties["email"] = str(properties["email"]).lower()
    return {"id": "1", **record, "properties": properties | {"createdate": "2026-01-01T00:00:00Z"}}


def pipedrive_echo(record: Data) -> Data:
    def stored(value: Any) -> Any:
        return float(value) if value.__class__ is int else value

    return (
        {"id": 1, "add_time": "2026-01-01T00:00:00Z"}
        | record
        | {name: stored(record[name]) for name in ("value", "probability") if name in record}
    )


SF_TEXT = NULL | NAMES.map(str.strip)
SF_ID = NULL | st.sampled_from(["001A000001abcDE", "005A000001abcDE"])
SF_RECORD: dict[str, Strategy] = {
    "Id": st.just("003A000001abcDE"),
    "Email": NULL | EMAILS.map(str.strip),
    "Phone": NULL | PHONES,
    "MobilePhone": NULL | PHONES,
    "NumberOfEmployees": NULL | st.integers(0, 999),
    "AnnualRevenue": NULL | st.integers(0, 10**9) | st.sampled_from([1.5e6, 0.25]),
    "Amount": NULL | st.integers(0, 10**6) | st.sampled_from([12.5, 0.01]),
    "CloseDate": DAYS,
    "Probability": NULL | st.sampled_from([0, 75.0, 33.3]),
    "AccountId": SF_ID,
    "OwnerId": SF_ID,
    "LastModifiedDate": INSTANTS,
    "Score__c": NULL | st.integers(),
}
HS_TEXT = NULL | BLANKS
HS_RECORD: dict[str, Strategy] = {
    "email": NULL | EMAILS.map(str.lower) | st.just(""),
    "phone": NULL | PHONES | st.just(""),
    "numberofemployees": NULL | st.sampled_from(["5", "", "12"]),
    "annualrevenue": NULL | st.sampled_from(["1000", "1000.50", ""]),
    "amount": NULL | st.sampled_from(["1000", "12.50", ""]),
    "deal_currency_code": NULL | st.sampled_from(["EUR", ""]),
    "closedate": NULL | st.sampled_from(["2026-01-31T16:50:06.296Z", "2026-01-31T00:00:00Z", ""]),
    "associatedcompanyid": NULL | st.sampled_from(["12", ""]),
    "hubspot_owner_id": NULL | st.sampled_from(["12", ""]),
    "lastmodifieddate": INSTANTS,
    "hs_lastmodifieddate": INSTANTS,
    "my_own": HS_TEXT,
}


def entries(values: Strategy) -> Strategy:
    one = some(label=st.sampled_from(["work", "home"]), primary=st.booleans())

    def entry(members: Data, value: str) -> Data:
        return {**members, "value": value}

    return NULL | st.lists(st.builds(entry, one, values), max_size=3)


PD_RECORD: dict[str, Strategy] = {
    "emails": entries(EMAILS),
    "phones": entries(PHONES),
    "address": NULL | some(value=NULL | BLANKS, locality=NULL | BLANKS, sublocality=NULL | BLANKS),
    "value": NULL | st.integers(0, 10**6) | st.sampled_from([12.5]),
    "currency": st.sampled_from(["EUR", "USD"]),
    "status": st.sampled_from(["open", "won", "lost", "deleted", "something new"]),
    "expected_close_date": NULL | DAYS,
    "probability": NULL | st.sampled_from([0, 75, 33.3]),
    "update_time": INSTANTS,
    "custom_fields": some(d4de1c=NULL | WORDS),
} | dict.fromkeys(("org_id", "person_id", "owner_id", "stage_id", "pipeline_id"), NULL | IDS)


def flat(mapping: Mapping, values: dict[str, Strategy], other: Strategy) -> st.SearchStrategy[Data]:
    roots = {path.split(".")[0] for path in mapping.paths}
    return some(**{name: values.get(name, other) for name in roots | {"Id", "Score__c", "custom_fields"}})


def nested(mapping: Mapping) -> st.SearchStrategy[Data]:
    names = {path.removeprefix("properties.") for path in mapping.paths} | {"my_own"}
    properties = some(**{name: HS_RECORD.get(name, HS_TEXT) for name in names})
    return some(id=st.just("1"), properties=NULL | properties, archived=st.booleans())


def salesforce_case(mapping: Mapping, *required: str) -> tuple[Mapping, Strategy, Strategy, Callable[[Data], Data]]:
    ids = st.sampled_from(["001A", "005B"])
    return mapping, flat(mapping, SF_RECORD, SF_TEXT), views(mapping, *required, ids=ids), salesforce_echo


def hubspot_case(mapping: Mapping, *required: str) -> tuple[Mapping, Strategy, Strategy, Callable[[Data], Data]]:
    return mapping, nested(mapping), views(mapping, *required, ids=IDS.map(str)), hubspot_echo


def pipedrive_case(mapping: Mapping, *required: str) -> tuple[Mapping, Strategy, Strategy, Callable[[Data], Data]]:
    ids = IDS.map(str)
    found = views(mapping, *required, ids=ids, stage=ids, pipeline=ids)
    return mapping, flat(mapping, PD_RECORD, NULL | BLANKS), found, pipedrive_echo


CASES = {
    "salesforce contact": salesforce_case(salesforce.contact(region="CH"), "last_name"),
    "salesforce company": salesforce_case(salesforce.company(region="CH"), "name"),
    "salesforce deal": salesforce_case(salesforce.deal(), "name", "stage", "closes_on"),
    "hubspot contact": hubspot_case(hubspot.contact(region="CH")),
    "hubspot company": hubspot_case(hubspot.company(region="CH")),
    "hubspot deal": hubspot_case(hubspot.deal(), "name", "stage"),
    "pipedrive contact": pipedrive_case(pipedrive.contact(region="CH"), "last_name"),
    "pipedrive company": pipedrive_case(pipedrive.company(), "name"),
    "pipedrive deal": pipedrive_case(pipedrive.deal(), "name"),
}


def others(record: Data) -> object:
    """What none of the mappings writes."""
    properties: Data = record.get("properties") or {}
    address: Data = record.get("address") or {}
    emails: list[Data] = record.get("emails") or []
    return [
        [
            record.get(name)
            for name in ("Id", "Score__c", "LastModifiedDate", "update_time", "custom_fields", "archived")
        ],
        [properties.get(name) for name in ("my_own", "associatedcompanyid", "lastmodifieddate")],
        [address.get(name) for name in ("locality", "sublocality")],
        [entry for entry in emails if entry.get("primary") is not True],
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_ready_mapping_is_lawful(case: str) -> None:
    mapping, external, view, echo = CASES[case]
    assert_lens_laws(mapping, external=external, view=view, echo=echo, unmapped=others, put_put=True, max_examples=40)


def test_one_view_goes_to_every_provider() -> None:
    view = {"first_name": "Ada", "last_name": "King", "email": "Ada@Example.org", "phone": "044 668 18 00"}
    contacts = [module.contact(region="CH") for module in (salesforce, hubspot, pipedrive)]
    created = [mapping.create(view) for mapping in contacts]
    assert created == [
        {"FirstName": "Ada", "LastName": "King", "Email": "ada@example.org", "Phone": "+41446681800"},
        {
            "properties": {
                "firstname": "Ada",
                "lastname": "King",
                "email": "ada@example.org",
                "phone": "+41446681800",
            }
        },
        {
            "name": "Ada King",
            "emails": [{"label": "work", "primary": True, "value": "ada@example.org"}],
            "phones": [{"label": "work", "primary": True, "value": "+41446681800"}],
        },
    ]
    read = [mapping.get(record) for mapping, record in zip(contacts, created, strict=True)]
    assert all(seen == read[0] for seen in read)


@pytest.mark.parametrize("odd", ["n/a", "ada@corp.local", "ada@example.org; bob@example.org"])
def test_what_is_no_address_makes_no_record_unreadable(odd: str) -> None:
    for module in (salesforce, hubspot, pipedrive):
        mapping: Mapping = module.contact()
        record = mapping.create({"last_name": "King", "email": odd})
        assert mapping.get(record)["email"] == odd
        assert mapping.patch(record, {"last_name": "Lovelace"}).keys().isdisjoint({"Email", "emails"})


def test_fields_of_an_account_come_on_top() -> None:
    mapping = salesforce.contact(Field("score", "Score__c", integer()))
    assert mapping.get({"LastName": "King", "Score__c": 5}) == {"last_name": "King", "score": 5}


def test_what_is_cleared_is_cleared_as_the_provider_wants_it() -> None:
    assert salesforce.contact().update({"email": None, "city": ""}) == {"Email": None, "MailingCity": None}
    assert hubspot.contact().update({"email": None, "city": ""}) == {"properties": {"email": "", "city": ""}}
    assert pipedrive.contact(replace_lists=True).update({"email": None}) == {"emails": []}


def test_what_the_provider_would_refuse_is_told_first() -> None:
    with pytest.raises(InvalidFields) as caught:
        salesforce.deal().create({"name": "x" * 121, "amount": "1.234", "email": "a@b.ch"})
    assert {error.path: error.code for error in caught.value.errors} == {
        "email": "unknown_field",
        "name": "too_long",
        "amount": "precision",
        "stage": "required",
        "closes_on": "required",
    }


def test_the_time_of_a_closing_date_stays_while_the_date_does() -> None:
    record = {"properties": {"closedate": "2026-01-31T16:50:06.296Z"}}
    mapping = hubspot.deal()
    assert mapping.patch(record, {"closes_on": "2026-01-31"}) == {}
    assert mapping.patch(record, {"closes_on": "2026-02-01"}) == {
        "properties": {"closedate": "2026-02-01T00:00:00.000Z"}
    }
