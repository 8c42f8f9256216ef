"""Every request that the adapter makes is one that Pipedrive's OpenAPI documents describe."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ratesync.errors import UnsupportedOperation
from ratesync.mapping import Mapping
from ratesync.mapping.ready import pipedrive as ready
from ratesync.model.operation import Kind
from ratesync.model.quota import Rate
from ratesync.providers.pipedrive import (
    ACTIVITIES,
    LEADS,
    NOTES,
    PRODUCTS,
    RESOURCES,
    PipedriveProvider,
    default_quotas,
)
from ratesync.providers.pipedrive.quotas import Plan
from tests.providers.pipedrive.speaking import MARK, execute, operation, provider
from tests.servers import pipedrive_rules as rules
from tests.servers.pipedrive_company import Asked, Company, Told

pytestmark = pytest.mark.anyio

FACTS: dict[str, Any] = json.loads(Path(__file__).with_name("endpoints.json").read_text(encoding="utf-8"))
ENDPOINTS: list[dict[str, Any]] = FACTS["endpoints"]
ALL = {**RESOURCES, "activities": ACTIVITIES, "products": PRODUCTS, "leads": LEADS, "notes": NOTES}
BODIES: dict[str, dict[str, Any]] = {
    "persons": ready.contact().create({"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.org"}),
    "organizations": ready.company().create({"name": "Acme", "address": "1 Main St"}),
    "deals": ready.deal().create({"name": "Big", "amount": "12.50", "currency": "EUR", "closes_on": "2026-12-24"}),
    "activities": {"subject": "Call"},
    "products": {"name": "Anvil", "code": "A1"},
    "leads": {"title": "Hot"},
    "notes": {"content": "Hello", "deal_id": 1},
}
JSON_TYPES = {"string": str, "number": int | float, "boolean": bool, "array": list, "object": dict}


def endpoint(asked: Asked) -> dict[str, Any]:
    """The documented endpoint that a request is for: a literal path goes before a template."""
    found = [known for known in ENDPOINTS if known["method"] == asked.method and known["path"] == asked.path]
    template = re.sub(r"/[0-9]+$|/[0-9a-f]{8}-[0-9a-f-]{27}$", "/{id}", asked.path)
    found += [known for known in ENDPOINTS if known["method"] == asked.method and known["path"] == template]
    assert found, f"no document has {asked.method} {asked.path}"
    return found[0]


def check(asked: Asked) -> None:
    known = endpoint(asked)
    assert asked.query.keys() <= set(known["query"])
    assert set(known.get("required_query", ())) <= asked.query.keys()
    for name, values in known.get("values", {}).items():
        sent: str = asked.query.get(name, "")
        assert not sent or set(sent.split(",")) <= set(values)
    assert len(asked.query.get("ids", "").split(",")) <= FACTS["limits"]["ids"]
    assert int(asked.query.get("limit", "1")) <= FACTS["limits"]["limit"]
    assert asked.headers["x-api-token"]
    if "body" not in known:
        assert not asked.body
        return
    body = asked.json()
    assert asked.headers["content-type"] == "application/json"
    assert body.keys() <= known["body"].keys()
    assert set(known["required"]) <= body.keys()
    for name, value in body.items():
        assert value is None or isinstance(value, JSON_TYPES[known["body"][name]])


class Obliging(Company):
    """Answers everything, with a row that fits."""

    def answer(self, asked: Asked) -> Told:
        self.asked.append(asked)
        known = asked.path.rpartition("/")[2]
        row = {"id": int(known) if known.isdecimal() else known if "-" in known else 7, "is_deleted": False}
        if known == "search":
            return self.success({"items": [{"item": {"id": 7}}]}, {"next_cursor": None})
        is_list = asked.method == "GET" and not known.isdecimal() and "-" not in known
        if not is_list:
            return self.success(row)
        return self.success(
            [row] * (len(self.asked) % 2), {"next_cursor": None if asked.query.keys() & {"cursor", "ids"} else "more"}
        )


def adapter(company: Company) -> PipedriveProvider:
    return provider(company, resources=ALL, identity_fields={"persons": MARK, "deals": MARK})


@pytest.mark.parametrize("resource", ALL)
@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.READ, Kind.UPDATE, Kind.DELETE])
async def test_operations(resource: str, kind: Kind) -> None:
    company = Obliging()
    pipedrive = adapter(company)
    identities = (
        [str(n) for n in range(1, 101)]
        if resource != "leads"
        else [f"adf21080-0e10-11eb-879b-05d71fb426e{n}" for n in range(5)]
    )
    for size in (1, len(identities) if kind is Kind.READ else 3):
        company.asked.clear()
        operations = [
            operation(
                kind,
                None if kind is Kind.CREATE else identity,
                resource=resource,
                **(BODIES[resource] if kind in {Kind.CREATE, Kind.UPDATE} else {}),
            )
            for identity in identities[:size]
        ]
        _, reply = await execute(pipedrive, operations)
        assert company.asked
        for asked in company.asked:
            check(asked)
        spent = sum(endpoint(asked)["cost"] for asked in company.asked)
        assert reply.feedback.charged == {"calls": len(company.asked), "tokens": spent, "searches": 0}
        most = pipedrive.charge(resource, kind, size)
        assert len(company.asked) <= most["calls"]
        assert spent <= most["tokens"]


@pytest.mark.parametrize("resource", ALL)
async def test_reading(resource: str) -> None:
    company = Obliging()
    pipedrive = adapter(company)
    cursor: str | None = None
    page: str | None = None
    for limit in (1, 100, 500, 10_000):
        try:
            for _ in range(3):
                cursor = (await pipedrive.pull_changes("default", resource, cursor, limit=limit)).cursor
        except UnsupportedOperation:
            assert resource in {"products", "leads", "notes"}
        page = (await pipedrive.list_records("default", resource, None, limit=limit)).next_page
        if page is not None and resource not in {"leads", "notes"}:
            await pipedrive.list_records("default", resource, page, limit=limit)
        if ALL[resource].fields_path is not None:
            await pipedrive.describe("default", resource)
        for path in (*ALL[resource].search, f"custom_fields.{MARK}"):
            if ALL[resource].search:
                await pipedrive.find("default", resource, path, ["x"])
        await pipedrive.lookup(operation(Kind.CREATE, resource=resource))
    for asked in company.asked:
        check(asked)
    assert {endpoint(asked)["path"] for asked in company.asked} >= {ALL[resource].path}


def test_prices_are_those_of_the_documents() -> None:
    for resource in ALL.values():
        prices = resource.prices
        expected = {
            ("GET", resource.path + "/{id}"): prices.read,
            ("GET", resource.path): prices.listing,
            ("POST", resource.path): prices.write,
            (resource.update_method, resource.path + "/{id}"): prices.write,
            ("DELETE", resource.path + "/{id}"): prices.delete,
        }
        if resource.search:
            expected["GET", resource.path + "/search"] = prices.search
        if resource.archive_path is not None:
            expected["GET", resource.archive_path] = prices.archive
        for (method, path), cost in expected.items():
            (known,) = [one for one in ENDPOINTS if (one["method"], one["path"]) == (method, path)]
            assert known["cost"] == cost, (method, path)


@pytest.mark.parametrize("plan", Plan)
def test_quotas_are_those_of_the_plans(plan: Plan) -> None:
    plans = FACTS["plans"]
    day, burst, searches = default_quotas(plan, seats=3, top_up=10)
    tokens = plans["tokens_per_seat"] * plans["factor"][plan] * 3 + 10
    assert (day.permits, day.unit) == (tokens, "tokens")  # type: ignore[union-attr]
    assert (burst.permits, burst.per) == (plans["burst"][plan], 2.0)  # type: ignore[union-attr]
    assert searches == Rate(10, per=2.0, unit="searches")
    _, burst, _ = default_quotas(plan, is_app=True)
    assert burst.permits == plans["app_burst"][plan]  # type: ignore[union-attr]
    for seats, top_up in ((0, 1_000), (1, -1)):
        with pytest.raises(ValueError, match="seats must be at least 1"):
            default_quotas(plan, seats=seats, top_up=top_up)


@pytest.mark.parametrize(
    ("resource", "mapping"), [("persons", ready.contact()), ("organizations", ready.company()), ("deals", ready.deal())]
)
def test_the_ready_mappings_write_documented_fields_only(resource: str, mapping: Mapping) -> None:
    (create,) = [one for one in ENDPOINTS if (one["method"], one["path"]) == ("POST", ALL[resource].path)]
    assert BODIES[resource].keys() <= create["body"].keys()
    written = mapping.names - mapping.read_only
    assert written


def test_the_fake_takes_what_the_documents_have_and_no_more() -> None:
    for kind, fields in rules.FIELDS.items():
        path = ALL[kind].path
        bodies = [one["body"] for one in ENDPOINTS if "body" in one and one["path"].removesuffix("/{id}") == path]
        documented = {name: kind for body in bodies for name, kind in body.items()}
        assert fields.keys() <= documented.keys()
        for name, types in fields.items():
            assert issubclass(types[0], JSON_TYPES[documented[name]]), (kind, name)
        (listing,) = [one for one in ENDPOINTS if (one["method"], one["path"]) == ("GET", path)]
        if kind not in rules.OLD:
            known = rules.LISTING | rules.CHANGES | (rules.OF_DEALS if kind == "deals" else set[str]())
            assert known <= set(listing["query"])
    for fields_of in ("person", "deal", "organization"):
        (search,) = [one for one in ENDPOINTS if one["path"] == f"/api/v2/{fields_of}s/search"]
        assert set(rules.SEARCHED[f"{fields_of}s"]) <= set(search["values"]["fields"])
