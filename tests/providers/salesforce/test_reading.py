"""Finding, listing, describing, looking up, quotas, and the ready mappings."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.errors import InvalidResponse, PagingBroken, ProviderError, Throttled, UnsupportedOperation
from ratesync.http import Account, Bearer
from ratesync.mapping.ready import salesforce as mappings
from ratesync.model.batch import Batch, Capabilities, ConditionalWrite, CreateIdentity, DeleteFeed
from ratesync.model.feedback import Reading, ThrottleCause
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied, Cause, Conflict, RetryLater, Unknown
from ratesync.model.quota import Concurrency, Rate
from ratesync.model.schema import RemoteField
from ratesync.protocols import ProviderClient
from ratesync.protocols.provider import (
    Charges,
    DescribesResources,
    FindsRecords,
    ListsRecords,
    LooksUp,
    PullsChanges,
)
from ratesync.providers.salesforce import OBJECTS as READY
from ratesync.providers.salesforce import Edition, SalesforceProvider, SObject, default_quotas
from ratesync.providers.salesforce.finding import agrees
from ratesync.providers.salesforce.soql import literal, one_of, select
from ratesync.rules.schema_drift import unknown_choices
from tests.providers.salesforce.world import CONTACTS, OBJECTS, URL, operation, outcomes, provider_of
from tests.servers.salesforce_org import Org, long_id, schema
from tests.servers.salesforce_server import Salesforce
from tests.servers.salesforce_soql import Query, unescaped

pytestmark = pytest.mark.anyio

INJECTIONS = [
    "x' OR Name != '",
    "x') OR (Id != null",
    "\\' OR Name != \\'",
    "\\",
    "'",
    "''",
    "x\\",
    "\n') LIMIT 1 --",
    "\u0000\u001b",
    "%",
    "_",
    "null",
    "FIELDS(ALL)",
]


@pytest.mark.parametrize("value", INJECTIONS)
async def test_a_value_finds_itself_and_nothing_else(value: str) -> None:
    salesforce = Salesforce()
    salesforce.org.seed("Account", 3, Name="Acme")
    (own,) = salesforce.org.seed("Account", 1, Name=value)
    async with provider_of(salesforce) as provider:
        found = await provider.find("default", "companies", "Name", [value, "nobody"])
    assert [record.record_id for record in found.records] == [own]


@settings(max_examples=40)
@given(st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x2100), max_size=12))
def test_a_literal_is_one_text_whatever_is_in_it(text: str) -> None:
    written = literal(text)
    assert written[0] == written[-1] == "'"
    assert unescaped(written[1:-1]) == text
    query = Query.read(select(READY["companies"], "Account", one_of("Name", [text, "a"]), limit=7))
    assert query.limit == 7
    assert query.kind == "Account"


async def test_records_are_found_by_values_and_ids() -> None:
    salesforce = Salesforce()
    (ada,) = salesforce.org.seed("Contact", 1, LastName="L", Email="ada@example.org")
    (bob,) = salesforce.org.seed("Contact", 1, LastName="B", Email="bob@example.org")
    salesforce.org.seed("Contact", 1, LastName="N")
    async with provider_of(salesforce) as provider:
        found = await provider.find("default", "contacts", "Email", ["ADA@example.org", "", " ", "eve@example.org"])
        assert [record.record_id for record in found.records] == [ada]
        found = await provider.find("default", "contacts", "Id", [bob[:15], "no id", ada])
        assert sorted(record.record_id for record in found.records) == sorted([ada, bob])
        salesforce.requests.clear()
        for values in ([], [""], ["  "]):
            assert (await provider.find("default", "contacts", "Email", values)).records == ()
        assert (await provider.find("default", "contacts", "Id", ["no id"])).records == ()
    assert salesforce.requests == [], "an empty text would mean null, and find all without a value"


async def test_what_cannot_be_found_at_once_is_told() -> None:
    salesforce = Salesforce()
    salesforce.org.seed("Contact", 2_000, LastName="Lovelace")
    salesforce.org.seed("Account", 200, Name="Acme")
    async with provider_of(salesforce) as provider:
        with pytest.raises(InvalidResponse, match="2000 records or more"):
            await provider.find("default", "contacts", "LastName", ["lovelace"])
        with pytest.raises(InvalidResponse, match="200 records or more"):
            await _find_whole(salesforce)
        for path in ("Account.Name", "", "Name) FROM User --", "Email = 'x' OR Id"):
            with pytest.raises(UnsupportedOperation):
                await provider.find("default", "contacts", path, ["x"])
        with pytest.raises(UnsupportedOperation):
            await provider.find("default", "contacts", "Email", [f"somebody-{n}@example.org" for n in range(1_000)])
        with pytest.raises(UnsupportedOperation):
            await provider.find("default", "contacts", "Email", ["\ud800"])
        with pytest.raises(InvalidResponse):
            await provider.find("default", "companies", "NumberOfEmployees", ["5"])
        with pytest.raises(UnsupportedOperation):
            await provider.find("default", "../User", "Email", ["x"])


async def _find_whole(salesforce: Salesforce) -> None:
    """A search in a type whose fields are not named: at most 200 records come."""
    objects = {"accounts": SObject(name="Account")}
    async with provider_of(salesforce, objects=objects) as provider:
        await provider.find("default", "accounts", "Name", ["Acme"])


async def test_a_listing_goes_by_id_over_short_pages() -> None:
    salesforce = Salesforce(page_max=7)
    ids = salesforce.org.seed("Contact", 30, LastName="A")
    salesforce.org.delete(ids[3])
    async with provider_of(salesforce) as provider:
        found: list[str] = []
        page = None
        while True:
            told = await provider.list_records("default", "contacts", page, limit=2_000)
            found += [record.record_id for record in told.records]
            page = told.next_page
            if page is None:
                break
        assert sorted(found) == sorted(set(ids) - {ids[3]})
        for position in ("x", "003' OR Id != '"):
            with pytest.raises(PagingBroken):
                await provider.list_records("default", "contacts", position, limit=10)


@pytest.mark.parametrize("body", [{"records": [], "done": False}, "twice", "back"])
async def test_a_listing_that_does_not_lead_on_is_an_error(body: Any) -> None:
    first, second = long_id("003000000000001"), long_id("003000000000002")
    rows = {"twice": [{"Id": second}] * 2, "back": [{"Id": first}, {"Id": second}]}
    answer = {"records": rows[body], "done": False} if isinstance(body, str) else body
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    account = Account(Bearer("t"), base_url=URL)
    async with SalesforceProvider(account, objects=OBJECTS, transport=transport) as provider:
        with pytest.raises(PagingBroken):
            await provider.list_records("default", "contacts", first, limit=10)


async def test_fields_are_described() -> None:
    async with provider_of(Salesforce()) as provider:
        contact = await provider.describe("default", "contacts")
        deal = await provider.describe("default", "deals")
        with pytest.raises(ProviderError):
            await provider.describe("default", "Nothing__c")
    assert contact.fields["LastName"] == RemoteField("string", required=True, max_length=80)
    assert contact.fields["FirstName"] == RemoteField("string", max_length=40)
    assert contact.fields["Level__c"].choices == frozenset({"Primary", "Secondary"}), "retired ones can no longer be"
    assert contact.fields["HasOptedOutOfEmail"] == RemoteField("boolean"), "Salesforce fills it"
    assert contact.fields["OwnerId"] == RemoteField("reference")
    assert deal.fields["StageName"].required
    assert deal.fields["StageName"].choices is None, "the picklist is not restricted: any text is taken"
    assert [drift.choices for drift in unknown_choices(contact, {"Level__c": "Third"})] == [("Third",)]


async def test_entries_that_describe_no_field_are_left_out() -> None:
    fields = [{"name": "A", "type": "string"}, {"type": "string"}, 5, {"name": "B"}, {"name": "C", "type": ""}]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"fields": fields}))
    async with SalesforceProvider(Account(Bearer("t"), base_url=URL), transport=transport) as provider:
        assert (await provider.describe("default", "contacts")).fields == {"A": RemoteField("string")}


@pytest.mark.parametrize("body", [{}, {"fields": 5}, []])
async def test_a_description_that_is_none(body: Any) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    async with SalesforceProvider(Account(Bearer("t"), base_url=URL), transport=transport) as provider:
        with pytest.raises(InvalidResponse):
            await provider.describe("default", "contacts")


async def test_a_create_is_looked_up_by_its_external_id() -> None:
    salesforce = Salesforce()
    (ada,) = salesforce.org.seed("Contact", 1, LastName="Ada", Customer_No__c="K/1")
    (invoice,) = salesforce.org.seed("Invoice__c", 1, Name="I", Invoice_No__c=42.0, Total__c=9.5)
    cases: list[tuple[str, dict[str, Any], Any]] = [
        ("contacts", {"LastName": " Ada ", "Customer_No__c": "k/1", "FirstName": ""}, Applied(ada)),
        ("contacts", {"LastName": "Ada", "Customer_No__c": "K/2"}, None),
        ("contacts", {"LastName": "Bob", "Customer_No__c": "K/1"}, Conflict),
        ("contacts", {"LastName": "Ada"}, Unknown),
        ("contacts", {"LastName": "Ada", "Customer_No__c": None}, Unknown),
        ("companies", {"Name": "Acme"}, Unknown),
        ("invoices", {"Name": "I", "Invoice_No__c": 42, "Total__c": "9.50"}, Applied(invoice)),
        ("invoices", {"Name": "I", "Invoice_No__c": 43}, None),
    ]
    async with provider_of(salesforce) as provider:
        for resource, fields, expected in cases:
            told = await provider.lookup(operation(Kind.CREATE, resource, **fields))
            assert told == expected or (isinstance(expected, type) and isinstance(told, expected)), fields
        salesforce.trouble.append("503")
        with pytest.raises(ProviderError):
            await provider.lookup(operation(Kind.CREATE, "contacts", LastName="Ada", Customer_No__c="K/1"))
        salesforce.org.rows[ada[:15]].fields["Customer_No__c"] = "double"
        salesforce.org.seed("Contact", 1, LastName="Ada", Customer_No__c="double")
        told = await provider.lookup(operation(Kind.CREATE, "contacts", LastName="Ada", Customer_No__c="double"))
        assert isinstance(told, Unknown)


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "<html>"), (404, {"message": "no route"}), (200, []), (200, {"Id": "x"}), (400, [{"errorCode": "X"}])],
)
async def test_a_lookup_trusts_no_other_answer(status: int, body: Any) -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=body) if isinstance(body, str) else httpx.Response(status, json=body)

    account = Account(Bearer("t"), base_url=URL)
    async with SalesforceProvider(account, objects=OBJECTS, transport=httpx.MockTransport(respond)) as provider:
        create = operation(Kind.CREATE, "contacts", LastName="Ada", Customer_No__c="1")
        try:
            assert isinstance(await provider.lookup(create), Unknown)
        except InvalidResponse:
            assert status == 200


@pytest.mark.parametrize(
    ("sent", "held", "same"),
    [
        ("a", "A", True),
        (" a  b ", "a b", True),
        ("", None, True),
        (None, None, True),
        (None, "a", False),
        ("a", None, False),
        (0, None, False),
        (5, 5.0, True),
        ("5.00", 5.0, True),
        (True, True, True),
        ("true", True, True),
        (True, False, False),
        (1, True, False),
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000+0000", True),
        ("2026-01-31T09:30:01Z", "2026-01-31T09:30:00.000+0000", False),
        ("003000000000001", "003000000000001AAA", True),
        ("003000000000001", "003000000000002AAA", False),
        ("a", "b", False),
    ],
)
def test_values_agree_in_whatever_spelling(sent: Any, held: Any, same: bool) -> None:
    assert agrees(sent, held) is same


async def test_its_capabilities_are_honest() -> None:
    provider = provider_of(Salesforce())
    assert provider.capabilities == Capabilities(
        batch_max=200,
        conditional_write=ConditionalWrite.NONE,
        create_identity=CreateIdentity.LOOKUP,
        lookup_after=600.0,
        deletes=DeleteFeed.TOMBSTONES,
    )
    plain = SalesforceProvider(Account(Bearer("t"), base_url=URL))
    assert plain.capabilities.create_identity is CreateIdentity.NONE
    assert Kind.UPSERT not in plain.capabilities.kinds
    assert SalesforceProvider(Account(Bearer("t"), base_url=URL), batch_max=50).capabilities.batch_max == 50
    protocols = (ProviderClient, Charges, DescribesResources, FindsRecords, ListsRecords, LooksUp, PullsChanges)
    assert all(isinstance(provider, protocol) for protocol in protocols)


async def test_answers_tell_how_the_day_stands() -> None:
    salesforce = Salesforce(daily=3)
    (ada,) = salesforce.org.seed("Contact", 1, LastName="A")
    async with provider_of(salesforce) as provider:
        page = await provider.list_records("default", "contacts", None, limit=10)
        assert page.feedback.readings == (Reading(limit=3, remaining=2, per=86_400.0),)
        found = await provider.find("default", "contacts", "LastName", ["A"])
        assert found.feedback.readings == (Reading(limit=3, remaining=1, per=86_400.0),)
        changes = await provider.pull_changes("default", "contacts", None, limit=10)
        assert changes.feedback.readings == (Reading(limit=3, remaining=0, per=86_400.0),)
        read = operation(Kind.READ, "contacts", ada)
        reply = await provider.execute(Batch(Lane("salesforce", "default"), "contacts", Kind.READ, (read,)))
        assert reply.feedback.cause is ThrottleCause.BUDGET
        outcome = reply[read.id or ""]
        assert isinstance(outcome, RetryLater)
        assert outcome.cause is Cause.THROTTLED
        with pytest.raises(Throttled):
            await provider.list_records("default", "contacts", None, limit=10)
        salesforce.trouble.append("concurrent")
        reply = await provider.execute(Batch(Lane("salesforce", "default"), "contacts", Kind.READ, (read,)))
        assert reply.feedback.cause is ThrottleCause.CONCURRENCY


@pytest.mark.parametrize(
    ("arguments", "calls", "long"),
    [
        ({}, 100_000, 25),
        ({"edition": Edition.DEVELOPER, "licences": 2}, 15_000, 5),
        ({"edition": "enterprise", "licences": 15}, 115_000, 25),
        ({"edition": "unlimited", "licences": 15, "bought": 1_000}, 176_000, 25),
        ({"edition": "sandbox"}, 5_000_000, 25),
    ],
)
def test_quotas_are_those_that_salesforce_documents(arguments: dict[str, Any], calls: int, long: int) -> None:
    assert default_quotas(**arguments) == (Rate(calls, per=86_400), Concurrency(long))


@pytest.mark.parametrize("arguments", [{"edition": "gold"}, {"licences": -1}, {"bought": -1}])
def test_quotas_of_what_there_is_not(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"gold|negative"):
        default_quotas(**arguments)


@pytest.mark.parametrize("resource", ["contacts", "companies", "deals"])
def test_the_fields_read_are_those_of_the_ready_mappings(resource: str) -> None:
    maker = {"contacts": mappings.contact, "companies": mappings.company, "deals": mappings.deal}[resource]
    described = READY[resource]
    assert set(described.fields) <= schema(described.name or "").keys()
    record = dict.fromkeys(described.fields)
    assert maker().get({**record, "LastName": "x", "Name": "x"}) is not None


async def test_mapped_records_come_back_as_they_were_written() -> None:
    salesforce = Salesforce(Org())
    (acme,) = salesforce.org.seed("Account", 1, Name="Acme")
    cases: list[tuple[str, Any, dict[str, Any]]] = [
        (
            "contacts",
            mappings.contact(region="CH"),
            {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.org", "company_id": acme},
        ),
        ("companies", mappings.company(), {"name": "Bolt", "employees": 12, "annual_revenue": "1200.5"}),
        (
            "deals",
            mappings.deal(),
            {"name": "Big", "stage": "Prospecting", "amount": "99.90", "company_id": acme},
        ),
    ]
    async with provider_of(salesforce, objects={"contacts": CONTACTS}) as provider:
        for resource, mapping, wanted in cases:
            view = wanted | ({"closes_on": "2026-12-24"} if resource == "deals" else {})
            (made,) = await outcomes(provider, operation(Kind.CREATE, resource, **mapping.create(view)))
            assert isinstance(made, Applied)
            (read,) = await outcomes(provider, operation(Kind.READ, resource, made.record_id))
            assert isinstance(read, Applied)
            assert read.record is not None
            got = mapping.get(dict(read.record.fields))
            assert {name: got[name] for name in view} == view
            page = await provider.pull_changes("default", resource, None, limit=100)
            told = {change.record_id: change for change in page.changes}[made.record_id or ""]
            assert told.fields == read.record.fields
            assert told.version == read.record.version
