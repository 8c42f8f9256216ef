"""Finding, describing, quotas and settings."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import httpx
import pytest

from ratesync.errors import (
    ConfigurationError,
    InvalidOperation,
    InvalidResponse,
    NotSent,
    ProviderError,
    Throttled,
    Unauthorised,
    Unavailable,
    UnsupportedOperation,
)
from ratesync.http import Account as Credentials
from ratesync.http import Bearer, Response
from ratesync.http.headers import Headers
from ratesync.mapping.ready import hubspot as mappings
from ratesync.model.batch import Batch, Capabilities, CreateIdentity, DeleteFeed
from ratesync.model.feedback import Reading, ThrottleCause
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied, Cause, RetryLater, Unknown
from ratesync.model.quota import Budget, Rate
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
from ratesync.providers.hubspot import OBJECT_TYPES, HubSpotProvider, ObjectType, default_quotas
from ratesync.providers.hubspot.answer import read_whole, refusal
from ratesync.rules.schema_drift import unknown_choices
from tests.providers.hubspot.world import OBJECTS, operation, outcomes, provider_of
from tests.servers.hubspot_account import Account
from tests.servers.hubspot_server import HubSpot

pytestmark = pytest.mark.anyio


async def test_records_are_found_by_values_whatever_their_case() -> None:
    hubspot = HubSpot()
    (ada,) = hubspot.account.seed("contacts", 1, email="ada@example.org", firstname="Ada")
    hubspot.account.seed("contacts", 1, email="bob@example.org")
    won = hubspot.account.seed("deals", 2, dealstage="closedwon")
    async with provider_of(hubspot) as provider:
        page = await provider.find("default", "contacts", "properties.email", ["ADA@Example.org", "eve@example.org"])
        assert [(each.record_id, each.fields["properties"]["firstname"]) for each in page.records] == [(ada, "Ada")]
        by_id = await provider.find("default", "contacts", "id", [ada, "77"])
        assert [each.record_id for each in by_id.records] == [ada]
        by_option = await provider.find("default", "deals", "properties.dealstage", ["closedwon"])
        assert sorted(each.record_id for each in by_option.records) == won
        nothing = await provider.find("default", "deals", "properties.dealname", [])
        assert (nothing.records, nothing.feedback.charged) == ((), {"calls": 0, "searches": 0})


async def test_an_empty_answer_to_a_lookup_is_no_answer() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"results": []}))
    async with HubSpotProvider(Credentials(Bearer("x")), transport=transport) as provider:
        outcome = await provider.lookup(operation(Kind.CREATE, "contacts", email="ada@example.org"))
    assert isinstance(outcome, Unknown)


async def test_what_cannot_be_found_at_once_is_told() -> None:
    hubspot = HubSpot()
    hubspot.account.seed("contacts", 201, city="Bern")
    async with provider_of(hubspot) as provider:
        with pytest.raises(InvalidResponse, match="more than 200"):
            await provider.find("default", "contacts", "properties.city", ["Bern"])
        for path in ("email", "properties.", "properties.a b", "associations.company"):
            with pytest.raises(UnsupportedOperation):
                await provider.find("default", "contacts", path, ["x"])
        with pytest.raises(UnsupportedOperation, match="too many values"):
            await provider.find("default", "contacts", "properties.city", [f"city {n}" for n in range(300)])
        with pytest.raises(InvalidOperation):
            await provider.find("default", "../oauth", "properties.city", ["x"])
        with pytest.raises(InvalidResponse):
            await provider.find("default", "contacts", "properties.unheard_of", ["x"])


async def test_a_search_does_not_see_what_was_made_just_now() -> None:
    hubspot = HubSpot(Account(search_lag=30_000))
    async with provider_of(hubspot) as provider:
        await outcomes(provider, operation(Kind.CREATE, "contacts", email="ada@example.org"))
        assert (await provider.find("default", "contacts", "properties.email", ["ada@example.org"])).records == ()
        hubspot.account.now += int(provider.capabilities.lookup_after * 1000)
        found = await provider.find("default", "contacts", "properties.email", ["ada@example.org"])
    assert len(found.records) == 1


async def test_properties_are_described() -> None:
    async with provider_of(HubSpot()) as provider:
        schema = await provider.describe("default", "deals")
    assert schema.fields["properties.dealname"] == RemoteField("string")
    stages = frozenset({"appointmentscheduled", "closedwon", "closedlost"})
    assert schema.fields["properties.dealstage"] == RemoteField("enumeration", choices=stages)
    assert schema.fields["properties.hubspot_owner_id"].choices is None, "owners are no fixed choices"
    assert [drift.choices for drift in unknown_choices(schema, {"properties.dealstage": "postponed"})] == [
        ("postponed",)
    ]


async def test_several_choices_in_one_text_and_archived_properties_are_not_taken_for_more() -> None:
    options = [{"value": "a", "label": "A"}, {"label": "no value"}]
    body = {
        "results": [
            {"name": "tags", "type": "enumeration", "fieldType": "checkbox", "options": options},
            {"name": "old", "type": "string", "archived": True},
            {"type": "string"},
            5,
        ]
    }
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    async with HubSpotProvider(Credentials(Bearer("x")), transport=transport) as provider:
        assert (await provider.describe("default", "cars")).fields == {
            "properties.tags": RemoteField("enumeration/checkbox")
        }
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"results": 5}))
    async with HubSpotProvider(Credentials(Bearer("x")), transport=transport) as provider:
        with pytest.raises(InvalidResponse):
            await provider.describe("default", "cars")


def test_quotas_follow_from_the_subscription() -> None:
    assert default_quotas()[:2] == (Rate(100, per=10.0), Budget(250_000))
    assert default_quotas("professional", zone="Europe/Zurich")[:2] == (
        Rate(190, per=10.0),
        Budget(650_000, zone="Europe/Zurich"),
    )
    assert default_quotas("enterprise", packs=2)[:2] == (Rate(250, per=10.0), Budget(3_000_000))
    assert default_quotas(is_public=True) == (Rate(110, per=10.0), Rate(5, per=1.0, unit="searches"))
    with pytest.raises(ValueError, match="gold"):
        default_quotas("gold")
    with pytest.raises(ValueError, match="packs"):
        default_quotas(packs=-1)


async def test_answers_tell_how_the_quotas_stand_and_what_reads_cost() -> None:
    hubspot = HubSpot(burst=100, daily=1_000)
    ids = hubspot.account.seed("contacts", 2, email="ada@example.org")
    async with provider_of(hubspot) as provider:
        reads = tuple(operation(Kind.READ, "contacts", identity) for identity in ids)
        reply = await provider.execute(Batch(Lane("hubspot", "default"), "contacts", Kind.READ, reads))
        assert provider.charge("contacts", Kind.READ, 2) == {"calls": 2}
        assert provider.charge("contacts", Kind.READ, 1) == provider.charge("deals", Kind.READ, 9) == {}
        assert provider.charge("contacts", Kind.UPDATE, 9) == {}
    assert reply.feedback.charged == {"calls": 1, "searches": 0}
    assert set(reply.feedback.readings) == {
        Reading(limit=1_000, remaining=999, per=86_400.0),
        Reading(limit=100, remaining=99, per=10.0),
    }


@pytest.mark.parametrize(
    ("limits", "policy", "cause"),
    [
        ({"burst": 0}, "TEN_SECONDLY_ROLLING", ThrottleCause.RATE),
        ({"daily": 0}, "DAILY", ThrottleCause.BUDGET),
    ],
)
async def test_a_refusal_names_its_policy(limits: dict[str, Any], policy: str, cause: ThrottleCause) -> None:
    hubspot = HubSpot(**limits)
    async with provider_of(hubspot) as provider:
        read = operation(Kind.READ, "contacts", "1")
        reply = await provider.execute(Batch(read.lane, "contacts", Kind.READ, (read,)))
    (outcome,) = reply.values()
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.THROTTLED
    assert reply.feedback.cause is cause
    assert hubspot.refused == [policy]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None),
        (400, InvalidResponse),
        (401, Unauthorised),
        (403, Unauthorised),
        (404, InvalidResponse),
        (409, InvalidResponse),
        (423, Unavailable),
        (429, Throttled),
        (477, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (524, Unavailable),
        (304, InvalidResponse),
        (414, InvalidResponse),
    ],
)
def test_refusals_of_reading_calls_are_errors(status: int, error: type[ProviderError] | None) -> None:
    found = refusal(Response(status), now=0.0)
    assert type(found) is (error or type(None))


def test_how_long_to_wait_is_hubspots_word() -> None:
    headers = Headers([(b"retry-after", b"30")])
    outcome, _ = read_whole(Response(423, headers), Kind.UPDATE, now=0.0)
    assert outcome == RetryLater("HTTP 423 Locked", Cause.UNAVAILABLE, 30.0)
    outcome, _ = read_whole(Response(477), Kind.UPDATE, now=0.0)
    assert outcome == RetryLater("HTTP 477", Cause.UNAVAILABLE, 600.0)


async def test_capabilities_are_honest() -> None:
    async with provider_of(HubSpot()) as provider:
        for protocol in (
            ProviderClient,
            LooksUp,
            Charges,
            PullsChanges,
            ListsRecords,
            FindsRecords,
            DescribesResources,
        ):
            assert isinstance(provider, protocol)
        assert provider.capabilities == Capabilities(
            kinds=frozenset(Kind),
            batch_max=100,
            create_identity=CreateIdentity.LOOKUP,
            lookup_after=60.0,
            deletes=DeleteFeed.TOMBSTONES,
        )
        assert "token" not in repr(provider)
    plain = {"contacts": ObjectType()}
    async with provider_of(HubSpot(), objects=plain, concurrency=None, lag=5.0) as provider:
        assert provider.capabilities.create_identity is CreateIdentity.NONE
        assert Kind.UPSERT not in provider.capabilities.kinds
        assert provider.capabilities.lookup_after == 5.0


@pytest.mark.parametrize(
    "settings",
    [
        {"objects": {"a/b": ObjectType()}},
        {"lag": -1.0},
        {"lag": float("nan")},
        {"lag": float("inf")},
        {"version": "v4/../x"},
        {"base_url": "nowhere"},
        {"timeout": 0.0},
    ],
)
def test_a_provider_that_could_not_work_is_not_made(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        HubSpotProvider(Credentials(Bearer("x")), **settings)


@pytest.mark.parametrize(
    "settings", [{"name": "a/b"}, {"properties": ["a b"]}, {"unique_property": "email"}, {"changed_property": ""}]
)
def test_an_object_type_that_could_not_work_is_not_made(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ObjectType(**settings)


class BrokenAuth(httpx.Auth):
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        raise ConfigurationError("there is no key")
        yield request


async def test_connections_without_an_account_wait() -> None:
    read = operation(Kind.READ, "contacts", "1")
    batch = Batch(Lane("hubspot", "other"), "contacts", Kind.READ, (read,))
    async with HubSpotProvider({"shop": Credentials(Bearer("x"))}) as provider:
        (outcome,) = (await provider.execute(batch)).values()
        assert isinstance(outcome, RetryLater)
        assert outcome.cause is Cause.UNAUTHORISED
        with pytest.raises(Unauthorised):
            await provider.describe("other", "contacts")
        provider.forget("shop")

    def broken(_: str) -> Credentials:
        raise ZeroDivisionError

    async with HubSpotProvider(lambda _: Credentials(base_url="nowhere")) as provider:
        (outcome,) = (await provider.execute(batch)).values()
        assert isinstance(outcome, RetryLater)
        assert outcome.cause is Cause.NOT_SENT
        with pytest.raises(NotSent):
            await provider.find("shop", "contacts", "id", ["1"])
    misconfigured = HubSpotProvider(
        Credentials(BrokenAuth()), transport=httpx.MockTransport(lambda _: httpx.Response(200))
    )
    async with misconfigured as provider:
        with pytest.raises(NotSent, match="no key"):
            await provider.describe("shop", "contacts")
    async with HubSpotProvider(broken) as provider:
        with pytest.raises(NotSent):
            await provider.pull_changes("shop", "contacts", None, limit=1)


MAPPINGS = {"contacts": mappings.contact(), "companies": mappings.company(), "deals": mappings.deal()}


@pytest.mark.parametrize("resource", MAPPINGS)
def test_what_the_ready_mappings_read_is_asked_for(resource: str) -> None:
    mapping = MAPPINGS[resource]
    described = OBJECT_TYPES[resource]
    full = {"id": "1", "properties": dict.fromkeys(described.asked), "updatedAt": "2026-01-01T00:00:00Z"}
    assert mapping.get(full).keys() == mapping.names
    for name in described.asked:
        one_less = {key: None for key in described.asked if key != name}
        assert mapping.get({"properties": one_less}).keys() < mapping.names, f"{name} is read for nobody"


VIEWS: dict[str, dict[str, Any]] = {
    "contacts": {"first_name": "Ada", "email": "Ada@Example.org", "phone": "+41446681800", "city": "", "state": None},
    "companies": {"name": "Acme", "domain": "Acme.example", "employees": 12, "annual_revenue": "1000.50"},
    "deals": {"name": "Big", "amount": "12.50", "stage": "closedwon", "closes_on": "2026-01-31", "currency": "chf"},
}


@pytest.mark.parametrize("resource", VIEWS)
async def test_a_view_comes_back_through_mapping_adapter_and_hubspot(resource: str) -> None:
    mapping, view = MAPPINGS[resource], VIEWS[resource]
    hubspot = HubSpot()
    async with provider_of(hubspot) as provider:
        (made,) = await outcomes(provider, operation(Kind.CREATE, resource, **mapping.create(view)["properties"]))
        assert isinstance(made, Applied)
        (read,) = await outcomes(provider, operation(Kind.READ, resource, made.record_id))
        assert isinstance(read, Applied)
        assert read.record is not None
        shown = mapping.get(read.record.fields)
        assert {name: shown[name] for name in view} == mapping.canon(view)
        assert mapping.patch(read.record.fields, view) == {}, "an idle sync writes nothing"
        changed = view | {next(iter(view)): None if resource == "contacts" else "Other"}
        patch = mapping.patch(read.record.fields, changed)
        (written,) = await outcomes(provider, operation(Kind.UPDATE, resource, made.record_id, **patch["properties"]))
        assert isinstance(written, Applied)
        page = await provider.pull_changes("default", resource, None, limit=10)
    (change,) = page.changes
    assert change.version == written.version
    assert change.fields is not None
    again = mapping.get(change.fields)
    assert {name: again[name] for name in view} == mapping.canon(changed)


async def test_objects_of_ones_own_have_their_name_at_hubspot() -> None:
    hubspot = HubSpot()
    objects = {**OBJECTS, "vehicles": ObjectType(name="cars", properties=("plate",))}
    async with provider_of(hubspot, objects=objects) as provider:
        (made,) = await outcomes(provider, operation(Kind.CREATE, "vehicles", plate="zh 1"))
        assert isinstance(made, Applied)
        assert (await provider.list_records("default", "vehicles", None, limit=5)).records[
            0
        ].record_id == made.record_id
    assert list(hubspot.account.rows["cars"]) == [int(made.record_id or "")]
