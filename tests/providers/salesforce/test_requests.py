"""Every request of the adapter is one that Salesforce documents, and within Salesforce's limits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from ratesync.errors import ConfigurationError, NotSent
from ratesync.http import Account, Bearer, JwtBearer, LocalVault, OAuth2, TokenEndpoint, TokenKeeper
from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied, Cause, RetryLater
from ratesync.model.secret import Secret
from ratesync.providers.salesforce import API_VERSION, SalesforceProvider, SObject
from tests.providers.salesforce.world import OBJECTS, URL, operation, outcomes, provider_of
from tests.servers.salesforce_server import Asked, Salesforce, transport

pytestmark = pytest.mark.anyio

FACTS = json.loads((Path(__file__).parent / "endpoints.json").read_text(encoding="utf-8"))
LIMITS = FACTS["limits"]
ROOT = FACTS["root"].replace("{version}", API_VERSION)


def fits(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[A-Za-z0-9_%.~-]+", template), path) is not None


def described(method: str, path: str) -> dict[str, Any]:
    """What Salesforce says of a method and path: the most literal of the paths that fit."""
    assert path.startswith(ROOT)
    below = path.removeprefix(ROOT)
    operations: list[dict[str, Any]] = FACTS["operations"]
    fitting = [each for each in operations if each["method"] == method and fits(each["path"], below)]
    assert fitting, f"Salesforce has no {method} {path}"
    return min(fitting, key=lambda operation: operation["path"].count("{"))


def check_record(record: dict[str, Any], *, typed: bool) -> None:
    assert ("attributes" in record) is typed
    if typed:
        assert re.fullmatch(r"[A-Za-z]\w*", record["attributes"]["type"])


def check_body(kind: str, body: Any) -> None:
    match kind:
        case "record":
            check_record(body, typed=False)
            assert "id" not in {name.lower() for name in body}
        case "collection" | "collection with ids":
            assert body.keys() == {"allOrNone", "records"}
            assert body["allOrNone"] is False
            assert 1 <= len(body["records"]) <= LIMITS["collection_records"]
            assert len({record["attributes"]["type"] for record in body["records"]}) == 1
            for record in body["records"]:
                check_record(record, typed=True)
                assert ("id" in record) is (kind == "collection with ids")
        case "ids and fields":
            assert body.keys() == {"ids", "fields"}
            assert 1 <= len(body["ids"]) <= LIMITS["collection_reads"]
            assert body["fields"]
        case _:
            assert body.keys() == {"allOrNone", "compositeRequest"}
            inner = body["compositeRequest"]
            assert 1 <= len(inner) <= LIMITS["composite_requests"]
            assert len({each["referenceId"] for each in inner}) == len(inner)
            for each in inner:
                assert each.keys() == {"method", "url", "referenceId"}
                assert re.fullmatch(r"\w+", each["referenceId"])
                described(each["method"], each["url"])


def check(asked: Asked) -> str:
    """Check a request; the operation that it is."""
    operation = described(asked.method, asked.path)
    assert asked.params.keys() <= set(operation["query"])
    assert len(asked.path) + sum(map(len, asked.params.values())) < LIMITS["url_and_headers"]
    if operation["body"] is None:
        assert not asked.body
    else:
        check_body(operation["body"], asked.json)
    if "ids" in asked.params:
        assert asked.params["allOrNone"] == "false"
        assert 1 <= len(asked.params["ids"].split(",")) <= LIMITS["collection_deletes"]
    if "q" in asked.params:
        match = re.search(r" LIMIT (\d+)$", asked.params["q"])
        assert match
        most = "query_rows_of_all_fields" if "FIELDS(ALL)" in asked.params["q"] else "query_rows"
        assert 1 <= int(match[1]) <= LIMITS[most]
    return f"{operation['method']} {operation['path']}"


async def test_all_requests_are_salesforces() -> None:
    salesforce = Salesforce()
    contacts = salesforce.org.seed("Contact", 230, LastName="Lovelace")
    accounts = salesforce.org.seed("Account", 3, Name="Acme")
    async with provider_of(salesforce) as provider:
        for size in (1, 200):
            numbers = [f"N {size}/{number}" for number in range(size)]
            made = [operation(Kind.CREATE, "contacts", LastName="A", Customer_No__c=each) for each in numbers]
            assert all(isinstance(outcome, Applied) for outcome in await outcomes(provider, *made))
            named = [f"Customer_No__c/{each}" for each in numbers]
            for kind, fields in ((Kind.UPSERT, {"LastName": "B"}), (Kind.READ, {})):
                done = await outcomes(provider, *(operation(kind, "contacts", each, **fields) for each in named))
                assert all(isinstance(outcome, Applied) for outcome in done)
            ids, contacts = contacts[:size], contacts[size:]
            done = await outcomes(provider, *(operation(Kind.UPDATE, "contacts", each, Title="C") for each in ids))
            done += await outcomes(provider, *(operation(Kind.READ, "contacts", each) for each in ids))
            done += await outcomes(provider, *(operation(Kind.DELETE, "contacts", each) for each in ids))
            assert all(isinstance(outcome, Applied) for outcome in done)
        await provider.lookup(operation(Kind.CREATE, "contacts", Customer_No__c="x"))
        cursor = None
        for limit in (1_000, 0, 7, 5_000):
            cursor = (await provider.pull_changes("default", "contacts", cursor, limit=limit)).cursor
        first = await provider.list_records("default", "contacts", None, limit=3)
        await provider.list_records("default", "contacts", first.next_page, limit=9_000)
        await provider.find("default", "companies", "Name", ["Acme", "Bolt"])
        await provider.describe("default", "contacts")
        # A type of which nothing is known is read with all its fields.
        await outcomes(provider, *(operation(Kind.READ, "Account", each) for each in accounts))
        await provider.pull_changes("default", "Account", None, limit=1_000)
    asked = {check(each) for each in salesforce.requests}
    assert asked == {f"{each['method']} {each['path']}" for each in FACTS["operations"]}


async def test_types_without_named_fields_are_read_whole() -> None:
    salesforce = Salesforce()
    invoices = salesforce.org.seed("Invoice__c", 3, Name="I", Total__c=5.0)
    async with provider_of(salesforce) as provider:
        single = await outcomes(provider, operation(Kind.READ, "Invoice__c", invoices[0]))
        several = await outcomes(provider, *(operation(Kind.READ, "Invoice__c", each) for each in invoices))
        page = await provider.pull_changes("default", "Invoice__c", None, limit=2_000)
        listed = await provider.list_records("default", "Invoice__c", None, limit=2_000)
        found = await provider.find("default", "Invoice__c", "Name", ["i"])
    assert single[0] == several[0]
    assert isinstance(single[0], Applied)
    assert single[0].record is not None
    assert [change.fields for change in page.changes] == [record.fields for record in listed.records]
    assert page.changes[0].fields == single[0].record.fields
    assert len(found.records) == 3
    assert [check(each) for each in salesforce.requests][1:] == [
        "GET /query",
        "GET /queryAll",
        "GET /query",
        "GET /query",
    ]


async def test_each_connection_calls_its_own_org() -> None:
    seen: list[tuple[str, str | None]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        assert request.headers["sforce-auto-assign"] == "FALSE"
        seen.append((str(request.url), request.headers.get("authorization")))
        return httpx.Response(200, json={"fields": []})

    accounts = {
        "acme": Account(Bearer("a"), base_url="https://acme.my.salesforce.com"),
        "lab": Account(Bearer("b"), base_url="https://acme--lab.sandbox.my.salesforce.com"),
    }
    async with SalesforceProvider(
        accounts, version="62.0", headers={"Sforce-Auto-Assign": "FALSE"}, transport=httpx.MockTransport(respond)
    ) as provider:
        for connection in accounts:
            await provider.describe(connection, "deals")
    assert seen == [
        ("https://acme.my.salesforce.com/services/data/v62.0/sobjects/Opportunity/describe", "Bearer a"),
        ("https://acme--lab.sandbox.my.salesforce.com/services/data/v62.0/sobjects/Opportunity/describe", "Bearer b"),
    ]


async def test_an_account_is_asked_for_anew_when_it_is_forgotten() -> None:
    salesforce = Salesforce()
    asked: list[str] = []

    def account_of(connection: str) -> Account:
        asked.append(connection)
        return Account(Bearer(salesforce.token), base_url=URL)

    async with SalesforceProvider(account_of, transport=transport(salesforce)) as provider:
        for _ in range(2):
            await provider.describe("acme", "contacts")
        provider.forget("acme")
        await provider.describe("acme", "contacts")
    assert asked == ["acme", "acme"]


async def test_a_key_that_cannot_sign_keeps_operations_waiting() -> None:
    endpoint = TokenEndpoint("https://login.salesforce.com/services/oauth2/token")
    grant = JwtBearer(key=Secret("no key"), issuer="app", audience="https://login.salesforce.com", subject="u")
    auth = OAuth2(TokenKeeper(grant=grant, endpoint=endpoint, vault=LocalVault()))
    salesforce = Salesforce()
    async with SalesforceProvider(Account(auth, base_url=URL), transport=transport(salesforce)) as provider:
        (outcome,) = await outcomes(provider, operation(Kind.CREATE, "contacts", LastName="A"))
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.NOT_SENT
    assert "the key cannot sign with RS256" in outcome.reason
    assert "no key" not in outcome.reason
    assert salesforce.requests == []


async def test_an_account_without_an_address_waits_for_one() -> None:
    async with SalesforceProvider(lambda _: Account(Bearer("a"))) as provider:
        (outcome,) = await outcomes(provider, operation(Kind.CREATE, "contacts", LastName="A"))
        assert isinstance(outcome, RetryLater)
        assert outcome.cause is Cause.NOT_SENT
        with pytest.raises(NotSent):
            await provider.describe("default", "contacts")


@pytest.mark.parametrize(
    "settings",
    [
        {"version": "v65.0"},
        {"version": "46.0"},
        {"version": "65"},
        {"lag": -1.0},
        {"lag": float("nan")},
        {"lag": float("inf")},
        {"batch_max": 0},
        {"batch_max": 201},
        {"objects": {"my cars": SObject()}},
        {"base_url": "acme"},
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SalesforceProvider(Account(Bearer("a")), **(dict[str, Any](base_url=URL) | settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "Contact/.."},
        {"fields": ("Account.Name",)},
        {"fields": ("Id FROM User",)},
        {"external_id": "A B"},
        {"changed_field": ""},
        {"fields": tuple(f"Field_Number_{number}__c" for number in range(500))},
    ],
)
def test_descriptions_that_cannot_be_used_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SObject(**settings)


def test_nothing_secret_is_shown() -> None:
    provider = SalesforceProvider(Account(Bearer("top-secret"), base_url=URL), objects=OBJECTS)
    assert "top-secret" not in repr(provider)
    assert repr(provider).startswith("SalesforceProvider('salesforce', [")
