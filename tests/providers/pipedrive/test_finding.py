"""Finding records by a value, creates by their mark, and the fields of a record type."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ratesync import Applied, Kind, Unknown
from ratesync.errors import InvalidResponse, PagingBroken, Unavailable, UnsupportedOperation
from ratesync.model.schema import RemoteField
from ratesync.providers.pipedrive import NOTES, PERSONS
from ratesync.rules.schema_drift import choices_in, unknown_choices
from tests.providers.pipedrive.speaking import MARK, SCORE, execute, operation, provider
from tests.servers.pipedrive_company import Company

pytestmark = pytest.mark.anyio


def mail(address: str) -> list[dict[str, object]]:
    return [{"value": address, "primary": True, "label": "work"}]


async def test_records_are_found_by_their_values_whole(company: Company) -> None:
    company.custom = {SCORE, MARK}
    ada = company.add("persons", {"name": "Ada", "emails": mail("Ada@Example.org"), "custom_fields": {SCORE: "gold"}})
    eve = company.add("persons", {"name": "Eve", "emails": mail("eve@example.org"), "custom_fields": {MARK: "GOLD"}})
    company.add("persons", {"name": "Una", "custom_fields": {MARK: "none", SCORE: None}})
    gone = company.add("persons", {"name": "Ada"})
    company.delete("persons", gone["id"])
    pipedrive = provider(company)
    for path, value, expected in [
        ("emails", "ada@example.org", [ada]),
        ("emails.value", "ada@example.org", [ada]),
        ("name", "ada", [ada]),
        (f"custom_fields.{SCORE}", "Gold", [ada]),
        (f"custom_fields.{MARK}", "gold", [eve]),
        ("name", "Ad", []),
        (f"custom_fields.{SCORE}", "none", []),
        ("name", " ", []),
    ]:
        found = await pipedrive.find("default", "persons", path, [value])
        assert [dict(record.fields) for record in found.records] == expected
        assert found.next_page is None


async def test_several_values_are_searched_for_one_after_the_other(company: Company) -> None:
    for name in ("Ada", "Eve", "Grace"):
        company.add("persons", {"name": name})
    found = await provider(company).find("default", "persons", "name", ["ada", "Grace", "ADA", "", "nobody"])
    assert [record.fields["name"] for record in found.records] == ["Ada", "Grace"]
    assert [asked.path for asked in company.asked] == ["/api/v2/persons/search"] * 3 + ["/api/v2/persons"]
    assert found.feedback.charged == {"calls": 4, "tokens": 70, "searches": 3}
    company.asked.clear()
    assert (await provider(company).find("default", "persons", "name", [])).records == ()
    assert company.asked == []


async def test_an_archived_deal_is_found(company: Company) -> None:
    company.add("deals", {"title": "Big", "is_archived": True})
    (record,) = (await provider(company).find("default", "deals", "title", ["big"])).records
    assert record.record_id == "1"


async def test_too_many_are_an_error(company: Company) -> None:
    for _ in range(101):
        company.add("persons", {"name": "Ada"})
    with pytest.raises(InvalidResponse, match="more than 100"):
        await provider(company).find("default", "persons", "name", ["Ada"])
    company.delete("persons", 1)
    found = await provider(company).find("default", "persons", "name", ["Ada"])
    assert len(found.records) == 100


async def test_too_many_for_several_values_are_an_error(company: Company) -> None:
    for number in range(110):
        company.add("persons", {"name": "Ada" if number % 2 else "Eve"})
    with pytest.raises(InvalidResponse, match="more than 100"):
        await provider(company).find("default", "persons", "name", ["Ada", "Eve"])


async def test_what_cannot_be_searched_is_said(company: Company) -> None:
    pipedrive = provider(company, resources={"persons": PERSONS, "notes": NOTES})
    for resource, path, values in [
        ("persons", "name", [str(number) for number in range(11)]),
        ("persons", "owner_id", ["1"]),
        ("notes", "content", ["a"]),
        ("notes", f"custom_fields.{SCORE}", ["a"]),
        ("deals", "title", ["a"]),
    ]:
        with pytest.raises(UnsupportedOperation):
            await pipedrive.find("default", resource, path, values)
    assert company.asked == []
    nothings: list[Any] = [None, [], {}, {"items": None}]
    for data in nothings:
        company.before.append(company.success(data))
        with pytest.raises(InvalidResponse, match="no items"):
            await pipedrive.find("default", "persons", "name", ["Ada"])
    company.before.extend([None, company.failure(503, "Scheduled maintenance")])
    company.add("persons", {"name": "Ada"})
    with pytest.raises(Unavailable):
        await pipedrive.find("default", "persons", "name", ["Ada"])


async def test_a_create_whose_answer_was_lost_is_found_although_searches_lag(company: Company) -> None:
    company.custom, company.search_lag = {MARK}, 3600.0
    pipedrive = provider(company, resources={"persons": PERSONS}, identity_fields={"persons": MARK})
    create = operation(Kind.CREATE, name="Ada")
    company.after.append(company.failure(500, "Internal error"))
    (outcome,), _ = await execute(pipedrive, [create])
    assert isinstance(outcome, Unknown)
    assert await pipedrive.lookup(create) == Applied("1")
    assert await pipedrive.lookup(operation(Kind.CREATE, name="Ada")) is None
    row = {"id": 9, "is_deleted": True, "custom_fields": {MARK: create.idempotency_key}}
    company.before.extend([company.success([row], {"next_cursor": None}), company.success({"items": []})])
    assert await pipedrive.lookup(create) is None
    company.delete("persons", 1)
    assert await pipedrive.lookup(create) is None


async def test_a_create_of_long_ago_is_found_by_a_search(company: Company) -> None:
    company.custom = {MARK, SCORE}
    pipedrive = provider(company, identity_fields={"persons": MARK})
    create = operation(Kind.CREATE, name="Ada", custom_fields={SCORE: "gold"})
    await execute(pipedrive, [create])
    assert company.held("persons")["1"]["custom_fields"] == {SCORE: "gold", MARK: create.idempotency_key}
    for number in range(600):
        company.add("persons", {"name": f"Eve {number}"})
    company.asked.clear()
    assert await pipedrive.lookup(create) == Applied("1")
    assert [asked.path for asked in company.asked] == [
        "/api/v2/persons",
        "/api/v2/persons/search",
        "/api/v2/persons",
    ]


async def test_a_long_key_is_marked_by_its_digest(company: Company) -> None:
    company.custom = {MARK}
    pipedrive = provider(company, identity_fields={"persons": MARK})
    create = evolve(operation(Kind.CREATE, name="Ada"), idempotency_key="k" * 300)
    await execute(pipedrive, [create])
    assert len(company.held("persons")["1"]["custom_fields"][MARK]) == 64
    assert await pipedrive.lookup(create) == Applied("1")


async def test_doubt_is_told(company: Company) -> None:
    company.custom = {MARK}
    pipedrive = provider(company, identity_fields={"persons": MARK})
    create = operation(Kind.CREATE, name="Ada")
    for _ in range(2):
        company.add("persons", {"name": "Ada", "custom_fields": {MARK: create.idempotency_key}})
    assert isinstance(await pipedrive.lookup(create), Unknown)
    assert isinstance(await pipedrive.lookup(operation(Kind.CREATE, resource="deals", title="x")), Unknown)
    company.before.append(company.failure(503, "Scheduled maintenance"))
    with pytest.raises(Unavailable):
        await pipedrive.lookup(create)


FIELDS = [
    {"field_code": "name", "field_name": "Name", "field_type": "varchar", "is_custom_field": False},
    {
        "field_code": SCORE,
        "field_name": "Tier",
        "field_type": "enum",
        "is_custom_field": True,
        "options": [{"id": 27, "label": "gold"}, {"id": 28, "label": "silver"}],
        "required_fields": {"enabled": True},
    },
    {
        "field_code": MARK,
        "field_name": "Budget",
        "field_type": "monetary",
        "is_custom_field": True,
        "options": None,
        "subfields": [
            {"field_code": "value", "field_name": "Amount", "field_type": "double"},
            {"field_code": f"{MARK}_currency", "field_name": "Currency", "field_type": "varchar"},
            {"field_name": "no code"},
        ],
        "required_fields": {"enabled": True, "stage_ids": [3]},
    },
    {"field_name": "no code", "field_type": "varchar"},
    "no field",
]


async def test_fields_are_described_by_their_path_in_a_record(company: Company) -> None:
    company.fields = FIELDS  # type: ignore[assignment]
    schema = await provider(company).describe("default", "persons")
    assert schema.fields == {
        "name": RemoteField("varchar", required=True),
        f"custom_fields.{SCORE}": RemoteField("enum", required=True, choices=frozenset({"27", "28"})),
        f"custom_fields.{MARK}": RemoteField("monetary"),
        f"custom_fields.{MARK}.value": RemoteField("double"),
        f"custom_fields.{MARK}.currency": RemoteField("varchar"),
    }


async def test_an_option_that_is_newer_than_the_description_is_noticed(company: Company) -> None:
    """Records hold the ids of options as numbers."""
    company.fields = FIELDS  # type: ignore[assignment]
    company.custom = {SCORE}
    pipedrive = provider(company)
    schema, path = await pipedrive.describe("default", "persons"), f"custom_fields.{SCORE}"
    company.add("persons", {"name": "Ada", "custom_fields": {SCORE: 27}})
    company.add("persons", {"name": "Eve", "custom_fields": {SCORE: 31}})
    known, new = (await pipedrive.list_records("default", "persons", None, limit=10)).records
    assert unknown_choices(schema, choices_in(schema, known.fields, {path})) == ()
    (drift,) = unknown_choices(schema, choices_in(schema, new.fields, {path}))
    assert (drift.path, drift.choices) == (path, ("31",))


async def test_fields_come_on_several_pages_but_not_for_ever(company: Company) -> None:
    pages = [
        company.success([{"field_code": f"f{page}", "field_type": "int"}], {"next_cursor": f"{page}"})
        for page in range(20)
    ]
    company.before.extend([*pages[:3], company.success([], {"next_cursor": None})])
    schema = await provider(company).describe("default", "deals")
    assert schema.fields.keys() == {"f0", "f1", "f2"}
    assert [asked.query.get("cursor") for asked in company.asked] == [None, "0", "1", "2"]
    company.before.extend(pages)
    with pytest.raises(PagingBroken):
        await provider(company).describe("default", "deals")
    with pytest.raises(UnsupportedOperation):
        await provider(company, resources={"notes": NOTES}).describe("default", "notes")
