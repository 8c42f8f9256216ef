"""Every request of the adapter is one of HubSpot's OpenAPI documents, and within HubSpot's limits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from ratesync.http import Account as Credentials
from ratesync.http import Bearer
from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied
from ratesync.providers.hubspot import HubSpotProvider, ObjectType
from tests.providers.hubspot.world import OBJECTS, operation, outcomes, provider_of
from tests.servers.hubspot_server import Asked, HubSpot

pytestmark = pytest.mark.anyio

FACTS = json.loads((Path(__file__).parent / "openapi_facts.json").read_text(encoding="utf-8"))
LIMITS = FACTS["limits"]
TYPES: dict[str, type[Any]] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def described(asked: Asked) -> dict[str, Any]:
    """What HubSpot says of the request's method and path: the most literal of the paths that fit."""
    fitting = [
        operation
        for operation in FACTS["operations"]
        if operation["method"] == asked.method
        and re.fullmatch(re.sub(r"\{\w+\}", "[A-Za-z0-9_-]+", operation["path"]), asked.path)
    ]
    assert fitting, f"HubSpot has no {asked.method} {asked.path}"
    return min(fitting, key=lambda operation: operation["path"].count("{"))


def faults(shape: dict[str, Any], value: Any, path: str = "body") -> list[str]:
    """Where a body is not as described."""
    if not isinstance(value, TYPES[shape["type"]]) or (shape["type"] == "integer" and isinstance(value, bool)):
        return [f"{path} is no {shape['type']}"]
    if "enum" in shape and value not in shape["enum"]:
        return [f"{path} is none of its values"]
    if shape["type"] not in {"array", "object"}:
        return []
    if shape["type"] == "array":
        return [fault for each in value for fault in faults(shape["items"], each, f"{path}[]")]
    if "values" in shape:
        return [fault for name, each in value.items() for fault in faults(shape["values"], each, f"{path}.{name}")]
    members = shape.get("members", {})
    missing = [f"{path}.{name} is missing" for name in shape.get("required", []) if name not in value]
    strange = [f"{path}.{name} is not known" for name in value.keys() - members.keys()]
    known = [(name, each) for name, each in value.items() if name in members]
    return (
        missing + strange + [fault for name, each in known for fault in faults(members[name], each, f"{path}.{name}")]
    )


def check(asked: Asked) -> str:
    """Check a request; the operation that it is."""
    operation = described(asked)
    assert asked.params.keys() <= set(operation["query"])
    if operation["body"] is None:
        assert not asked.body
    else:
        assert faults(operation["body"], asked.json) == []
    if "/batch/" in asked.path:
        assert 1 <= len(asked.json["inputs"]) <= LIMITS["batch_inputs"]
    if asked.path.endswith("/search"):
        body = asked.json
        counts = [len(group["filters"]) for group in body["filterGroups"]]
        assert len(asked.body.decode()) <= LIMITS["search_body"]
        assert len(body["sorts"]) <= LIMITS["search_sorts"]
        assert 1 <= body["limit"] <= LIMITS["search_page"]
        assert int(body["after"]) + body["limit"] <= LIMITS["search_results"]
        assert len(counts) <= LIMITS["search_groups"]
        assert max(counts) <= LIMITS["search_filters_in_group"]
        assert sum(counts) <= LIMITS["search_filters"]
    if "limit" in asked.params:
        assert 1 <= int(asked.params["limit"]) <= LIMITS["listing_page"]
    return f"{operation['method']} {operation['path']}"


async def test_all_requests_are_hubspots() -> None:
    hubspot = HubSpot()
    contacts = hubspot.account.seed("contacts", 230, at=1_700_000_000_000, email="ada@example.org")
    hubspot.account.seed("companies", 3, name="Acme")
    async with provider_of(hubspot, objects=OBJECTS) as provider:
        for size in (1, 100):
            names = [f"{size}-{number}" for number in range(size)]
            made = [operation(Kind.CREATE, "cars", plate=name, maker=None) for name in names]
            assert all(isinstance(outcome, Applied) for outcome in await outcomes(provider, *made))
            await outcomes(provider, *(operation(Kind.UPSERT, "cars", name, maker=7) for name in names))
            await outcomes(provider, *(operation(Kind.READ, "cars", name) for name in names))
            ids = contacts[:size]
            await outcomes(provider, *(operation(Kind.READ, "contacts", identity) for identity in ids))
            await outcomes(provider, *(operation(Kind.UPDATE, "contacts", identity, city="Bern") for identity in ids))
            await outcomes(provider, *(operation(Kind.DELETE, "contacts", identity) for identity in ids))
        await provider.lookup(operation(Kind.CREATE, "cars", plate="1-0"))
        cursor = None
        for limit in (1_000, 0, 7, 200, 200, 200, 1, 1_000, 1_000):
            page = await provider.pull_changes("default", "contacts", cursor, limit=limit)
            cursor = page.cursor
        first = await provider.list_records("default", "contacts", None, limit=1_000)
        await provider.list_records("default", "contacts", first.next_page, limit=0)
        await provider.find("default", "companies", "properties.name", ["Acme", "Bolt"])
        await provider.describe("default", "contacts")
    asked = {check(each) for each in hubspot.requests}
    assert asked == {f"{each['method']} {each['path']}" for each in FACTS["operations"]}


@pytest.mark.parametrize("version", FACTS["versions"])
async def test_dated_versions_have_other_paths(version: str) -> None:
    hubspot = HubSpot()
    async with provider_of(hubspot, version=version) as provider:
        (made,) = await outcomes(provider, operation(Kind.CREATE, "deals", dealname="big"))
        assert isinstance(made, Applied)
        await outcomes(provider, operation(Kind.UPDATE, "deals", made.record_id, amount=5))
        page = await provider.pull_changes("default", "deals", None, limit=5)
        assert [change.record_id for change in page.changes] == [made.record_id]
        await provider.describe("default", "deals")
    objects, properties = FACTS["versions"][version].values()
    assert [asked.path for asked in hubspot.requests] == [
        f"{objects}/deals",
        f"{objects}/deals/{made.record_id}",
        f"{objects}/deals/search",
        f"{properties}/deals",
    ]


async def test_a_search_that_would_be_too_long_is_made_shorter() -> None:
    hubspot = HubSpot()
    many = tuple(f"my_own_property_{number}" for number in range(150))
    hubspot.account.seed("contacts", 120, email="ada@example.org", firstname="Ada")
    objects = {"contacts": ObjectType(properties=("firstname", *many), changed_property="lastmodifieddate")}
    async with provider_of(hubspot, objects=objects) as provider:
        page = await provider.pull_changes("default", "contacts", None, limit=200)
        found = await provider.find("default", "contacts", "properties.email", ["Ada@Example.org"])
    assert len(page.changes) == 120
    assert all(change.fields is None for change in page.changes), "what was not asked for must not look empty"
    assert len(found.records) == 120
    assert {record.fields["properties"]["firstname"] for record in found.records} == {"Ada"}
    paths = [check(each).rpartition("/")[2] for each in hubspot.requests]
    assert paths == ["search", "search", "read", "read"]


async def test_each_connection_calls_with_its_own_token() -> None:
    seen: list[tuple[str, str | None]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers.get("authorization")))
        return httpx.Response(200, json={"results": []})

    accounts = {
        "shop": Credentials(Bearer("a")),
        "lab": Credentials(Bearer("b"), base_url="https://api-eu1.hubapi.com"),
    }
    async with HubSpotProvider(accounts, transport=httpx.MockTransport(respond)) as provider:
        for connection in accounts:
            await provider.describe(connection, "deals")
    assert seen == [
        ("https://api.hubapi.com/crm/v3/properties/deals?archived=false", "Bearer a"),
        ("https://api-eu1.hubapi.com/crm/v3/properties/deals?archived=false", "Bearer b"),
    ]
