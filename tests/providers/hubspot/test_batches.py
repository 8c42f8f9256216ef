"""Batches before a HubSpot that answers in any order, refuses parts and wholes, and does not say whose a record is."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ratesync.model.batch import Batch
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from tests.providers.hubspot.world import OBJECTS, operation, outcomes, provider_of
from tests.servers.hubspot_account import Account
from tests.servers.hubspot_server import HubSpot

pytestmark = pytest.mark.anyio


def kinds(found: list[Outcome]) -> list[type[Outcome]]:
    return [type(outcome) for outcome in found]


def deal(number: int, **more: Any) -> Operation:
    return operation(Kind.CREATE, "deals", dealname=f"deal {number}", amount=number, **more)


@pytest.mark.parametrize("echo_traces", [True, False])
async def test_created_records_are_given_to_those_who_wrote_them(echo_traces: bool) -> None:
    hubspot = HubSpot(Account(echo_traces=echo_traces))
    creates = [deal(number, dealstage="closedwon", closedate="2026-01-31T00:00:00.000Z") for number in range(100)]
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *creates)
    rows = hubspot.account.rows["deals"]
    for number, outcome in enumerate(found):
        assert isinstance(outcome, Applied)
        assert rows[int(outcome.record_id or "")].properties["dealname"] == f"deal {number}"
        assert outcome.version is not None
    assert len(rows) == 100
    assert len(hubspot.requests) == 1


async def test_creates_that_are_the_same_get_a_record_each() -> None:
    hubspot = HubSpot()
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *(operation(Kind.CREATE, "deals", dealname="same") for _ in range(10)))
    assert {outcome.record_id for outcome in found if isinstance(outcome, Applied)} == {
        str(identity) for identity in hubspot.account.rows["deals"]
    }
    assert len(hubspot.account.rows["deals"]) == 10


async def test_a_bad_create_does_not_take_the_others_with_it() -> None:
    hubspot = HubSpot()
    (taken,) = hubspot.account.seed("contacts", 1, email="ada@example.org")
    creates = [
        operation(Kind.CREATE, "contacts", email="Bob@Example.org", firstname="Bob"),
        operation(Kind.CREATE, "contacts", email="Ada@example.org", firstname="Ada"),
        operation(Kind.CREATE, "contacts", email="eve@example.org", age=5),
        operation(Kind.CREATE, "contacts", firstname="Zoe"),
    ]
    async with provider_of(hubspot) as provider:
        bob, ada, eve, zoe = await outcomes(provider, *creates)
    assert isinstance(bob, Applied)
    assert isinstance(zoe, Applied)
    assert hubspot.account.rows["contacts"][int(bob.record_id or "")].properties["firstname"] == "Bob"
    assert ada == Conflict(f"HubSpot refused it: CONFLICT; the record {taken} has that value", Record(taken, {}))
    assert isinstance(eve, Rejected)
    assert (eve.code, eve.reason) == (
        "PROPERTY_DOESNT_EXIST",
        "HubSpot refused it: VALIDATION_ERROR (age PROPERTY_DOESNT_EXIST)",
    )
    assert len(hubspot.requests) == 1


async def test_a_conflict_that_a_whole_batch_is_refused_for_is_found_by_halves() -> None:
    hubspot = HubSpot(is_partial=False)
    (taken,) = hubspot.account.seed("contacts", 1, email="c5@example.org")
    creates = [operation(Kind.CREATE, "contacts", email=f"c{number}@example.org") for number in range(20)]
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *creates)
    assert kinds(found) == [Applied] * 5 + [Conflict] + [Applied] * 14
    assert isinstance(found[5], Conflict)
    assert found[5].current == Record(taken, {})
    assert len(hubspot.account.rows["contacts"]) == 20


async def test_a_single_create_in_conflict_names_the_record_that_exists() -> None:
    hubspot = HubSpot()
    (taken,) = hubspot.account.seed("contacts", 1, email="ada@example.org")
    async with provider_of(hubspot) as provider:
        (outcome,) = await outcomes(provider, operation(Kind.CREATE, "contacts", email="ada@example.org"))
        (other,) = hubspot.account.seed("contacts", 1)
        (update,) = await outcomes(provider, operation(Kind.UPDATE, "contacts", other, email="ada@example.org"))
    assert isinstance(outcome, Conflict)
    assert outcome.current == Record(taken, {})
    assert isinstance(update, Conflict)
    assert update.current is None, "the other record is not what HubSpot holds for this one"


async def test_updates_are_matched_by_id_and_those_that_are_gone_are_told() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("contacts", 5, firstname="Ada")
    updates = [operation(Kind.UPDATE, "contacts", identity, city=identity) for identity in (*ids, "77")]
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *updates)
        (alone,) = await outcomes(provider, operation(Kind.UPDATE, "contacts", "77", city="Bern"))
    assert kinds(found) == [Applied] * 5 + [Rejected]
    assert isinstance(alone, Rejected)
    assert [outcome.code for outcome in (found[-1], alone) if isinstance(outcome, Rejected)] == ["404", "404"]
    assert [hubspot.account.rows["contacts"][int(identity)].properties["city"] for identity in ids] == ids


async def test_what_hubspot_refuses_a_whole_batch_for_is_found_by_halves() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("deals", 100)
    updates = [operation(Kind.UPDATE, "deals", identity, amount="12") for identity in ids[:-1]]
    updates.insert(37, operation(Kind.UPDATE, "deals", ids[-1], amount="my secret"))
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *updates)
    assert kinds(found) == [Applied] * 37 + [Rejected] + [Applied] * 62
    refused = found[37]
    assert refused == Rejected("HTTP 400: VALIDATION_ERROR (amount INVALID_LONG)", "INVALID_LONG")
    assert len(hubspot.requests) <= 20
    assert sum(row.properties.get("amount") == "12" for row in hubspot.account.rows["deals"].values()) == 99


async def test_more_bad_ones_than_calls_are_left_for_later() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("deals", 100)
    updates = [operation(Kind.UPDATE, "deals", identity, amount="no number") for identity in ids]
    async with provider_of(hubspot) as provider:
        reply = await provider.execute(Batch(updates[0].lane, "deals", Kind.UPDATE, tuple(updates)))
    assert reply.feedback.charged == {"calls": 20, "searches": 0}, "all calls are told, however many a permit was for"
    found = list(reply.values())
    assert set(kinds(found)) == {Rejected, RetryLater}
    assert {outcome.cause for outcome in found if isinstance(outcome, RetryLater)} == {Cause.UNAVAILABLE}
    assert len(hubspot.requests) == 20


async def test_none_clears_a_property_and_values_become_text() -> None:
    hubspot = HubSpot()
    (identity,) = hubspot.account.seed("contacts", 1, city="Bern", phone="1")
    async with provider_of(hubspot) as provider:
        await outcomes(
            provider, operation(Kind.UPDATE, "contacts", identity, city=None, phone="", zip=3000, state=True)
        )
    assert hubspot.requests[-1].json == {"properties": {"city": "", "phone": "", "zip": "3000", "state": "true"}}
    kept = hubspot.account.rows["contacts"][int(identity)].properties
    assert (kept["city"], kept["phone"], kept["zip"], kept["state"]) == (None, None, "3000", "true")


async def test_deletes_of_what_is_gone_are_applied() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("contacts", 3)
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *(operation(Kind.DELETE, "contacts", identity) for identity in (*ids, "77")))
        found += await outcomes(provider, operation(Kind.DELETE, "contacts", "77"))
    assert found == [Applied()] * 5
    assert all(row.archived_at for row in hubspot.account.rows["contacts"].values())


async def test_reads_name_records_by_id_or_by_the_unique_value() -> None:
    hubspot = HubSpot()
    (ada,) = hubspot.account.seed("contacts", 1, email="ada@example.org", firstname="Ada")
    (bob,) = hubspot.account.seed("contacts", 1, email="bob@example.org")
    names = (ada, "BOB@example.org ", ada, "eve@example.org", "77")
    async with provider_of(hubspot) as provider:
        reply = await outcomes(provider, *(operation(Kind.READ, "contacts", name) for name in names))
        (missing,) = await outcomes(provider, operation(Kind.READ, "contacts", "eve@example.org"))
    records = [outcome.record for outcome in reply if isinstance(outcome, Applied)]
    assert [record and record.record_id for record in records] == [ada, bob, ada]
    first = records[0]
    assert first is not None
    assert first.fields["properties"]["firstname"] == "Ada"
    assert first.fields["properties"]["city"] is None
    assert first.version == first.fields["updatedAt"]
    assert [outcome.code for outcome in (*reply, missing) if isinstance(outcome, Rejected)] == ["404"] * 3
    assert len(hubspot.requests) == 3, "two calls for the mixed ones"


async def test_other_types_are_read_as_hubspot_shows_them() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("cars", 2, plate="zh 1")
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *(operation(Kind.READ, "cars", identity) for identity in ids))
        found += await outcomes(provider, operation(Kind.READ, "cars", ids[0]))
    assert kinds(found) == [Applied] * 3


async def test_an_empty_answer_to_a_batch_of_writes_is_no_answer() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(204))
    async with provider_of(HubSpot(), transport=transport) as provider:
        found = await outcomes(provider, *(operation(Kind.UPDATE, "deals", each, amount=1) for each in "12"))
    assert kinds(found) == [Unknown] * 2


async def test_upserts_go_by_the_unique_value() -> None:
    hubspot = HubSpot()
    (known,) = hubspot.account.seed("cars", 1, plate="zh 1", maker="Fiat")
    async with provider_of(hubspot, objects=OBJECTS) as provider:
        old, new = await outcomes(
            provider,
            operation(Kind.UPSERT, "cars", "ZH 1", maker="Audi"),
            operation(Kind.UPSERT, "cars", "zh 2", maker="Seat"),
        )
        (refused,) = await outcomes(provider, operation(Kind.UPSERT, "deals", "zh 2", dealname="x"))
    assert isinstance(old, Applied)
    assert isinstance(new, Applied)
    assert old.record_id == known
    cars = hubspot.account.rows["cars"]
    assert [row.properties["maker"] for row in cars.values()] == ["Audi", "Seat"]
    assert cars[int(new.record_id or "")].properties["plate"] == "zh 2"
    assert isinstance(refused, Rejected)


@pytest.mark.parametrize(
    "wrong",
    [
        operation(Kind.CREATE, "contacts", "12", email="ada@example.org"),
        operation(Kind.UPDATE, "contacts", "ada@example.org", city="Bern"),
        operation(Kind.UPDATE, "contacts", "../deals/1", city="Bern"),
        operation(Kind.DELETE, "contacts", ""),
        operation(Kind.READ, "deals", "no number"),
        operation(Kind.READ, "contacts", ""),
        operation(Kind.CREATE, "contacts", tags=["a"]),
        operation(Kind.CREATE, "contacts", city="x" * 70_000),
        operation(Kind.CREATE, "contacts", city="\ud800"),
        Operation.create("hubspot", "contacts", {"properties": []}, id="o"),
        Operation.create("hubspot", "contacts", {"email": "ada@example.org"}, id="o"),
        operation(Kind.READ, "../../oauth", "1"),
    ],
)
async def test_what_cannot_be_asked_is_not_sent(wrong: Operation) -> None:
    hubspot = HubSpot()
    async with provider_of(hubspot) as provider:
        (outcome,) = await outcomes(provider, wrong)
    assert isinstance(outcome, Rejected)
    assert hubspot.requests == []
    assert "ada@example.org" not in outcome.reason


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.UPDATE, Kind.READ])
@pytest.mark.parametrize("size", [1, 2])
async def test_a_page_that_is_not_there_is_no_record_that_is_gone(kind: Kind, size: int) -> None:
    """Else a wrong address would look like a world without records."""

    def at_a_wrong_address(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, html="<h1>Not found</h1>")

    async with provider_of(HubSpot(), transport=httpx.MockTransport(at_a_wrong_address)) as provider:
        found = await outcomes(provider, *(operation(kind, "deals", str(number)) for number in range(size)))
    assert found == [Rejected("HTTP 404 Not Found", "no_such_page")] * size


async def test_a_record_of_which_hubspot_says_little_is_gone() -> None:
    def say_little(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"status": "error", "message": "resource not found", "correlationId": "c0ffee"})

    async with provider_of(HubSpot(), transport=httpx.MockTransport(say_little)) as provider:
        (read,) = await outcomes(provider, operation(Kind.READ, "deals", "1"))
        (delete,) = await outcomes(provider, operation(Kind.DELETE, "deals", "1"))
    assert isinstance(read, Rejected)
    assert read.code == "404"
    assert delete == Applied()


async def test_hubspots_words_are_kept_where_they_name_no_value() -> None:
    async with provider_of(HubSpot()) as provider:
        (outcome,) = await outcomes(provider, operation(Kind.READ, "unheard_of", "1"))
    assert outcome == Rejected("HTTP 400 Bad Request: Unable to infer object type from: unheard_of", "VALIDATION_ERROR")


async def test_the_rest_of_a_batch_is_sent() -> None:
    hubspot = HubSpot()
    (identity,) = hubspot.account.seed("contacts", 1)
    async with provider_of(hubspot) as provider:
        found = await outcomes(
            provider,
            operation(Kind.UPDATE, "contacts", "not a number", city="Bern"),
            operation(Kind.UPDATE, "contacts", identity, city="Bern"),
        )
    assert kinds(found) == [Rejected, Applied]


TROUBLES: dict[str, Outcome] = {
    "423": RetryLater("HTTP 423 Locked: The object is locked", Cause.UNAVAILABLE, 2.0),
    "477": RetryLater("HTTP 477: migration in progress", Cause.UNAVAILABLE, 90.0),
    "502": Unknown("HTTP 502 Bad Gateway"),
    "503": RetryLater("HTTP 503 Service Unavailable", Cause.UNAVAILABLE, 5.0),
    "504": Unknown("HTTP 504 Gateway Timeout"),
    "521": RetryLater("HTTP 521", Cause.UNAVAILABLE, 5.0),
    "522": Unknown("HTTP 522"),
    "523": RetryLater("HTTP 523", Cause.UNAVAILABLE, 5.0),
    "525": RetryLater("HTTP 525", Cause.UNAVAILABLE, 5.0),
    "526": RetryLater("HTTP 526", Cause.UNAVAILABLE, 5.0),
    "524": Unknown("HTTP 524"),
    "lose": Unknown("HTTP 504 Gateway Timeout"),
}


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_troubles_are_told_as_hubspot_means_them(trouble: str, size: int) -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("contacts", size)
    hubspot.trouble.append(trouble)
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *(operation(Kind.UPDATE, "contacts", each, city="Bern") for each in ids))
    assert found == [TROUBLES[trouble]] * size
    assert len(hubspot.requests) == 1


async def test_refused_credentials_stop_a_batch_after_one_call() -> None:
    hubspot = HubSpot()
    ids = hubspot.account.seed("contacts", 4)
    async with provider_of(hubspot) as provider:
        hubspot.token = "another"
        found = await outcomes(provider, *(operation(Kind.UPDATE, "contacts", each, city="Bern") for each in ids))
    assert [outcome.cause for outcome in found if isinstance(outcome, RetryLater)] == [Cause.UNAUTHORISED] * 4
    assert len(hubspot.requests) == 1


async def test_a_throttled_part_stops_the_search_for_the_bad_one() -> None:
    hubspot = HubSpot(burst=3)
    ids = hubspot.account.seed("deals", 16)
    updates = [operation(Kind.UPDATE, "deals", identity, amount="bad") for identity in ids]
    async with provider_of(hubspot) as provider:
        found = await outcomes(provider, *updates)
    assert len(hubspot.requests) == 4
    causes = [outcome.cause for outcome in found if isinstance(outcome, RetryLater)]
    assert causes[0] is Cause.THROTTLED
    assert len(causes) == 16
    assert hubspot.refused == ["TEN_SECONDLY_ROLLING"]


async def test_a_create_whose_answer_was_lost_is_looked_up_by_its_unique_value() -> None:
    hubspot = HubSpot(Account(search_lag=60_000))
    async with provider_of(hubspot) as provider:
        lost = operation(Kind.CREATE, "contacts", email="Ada@Example.org", firstname="Ada")
        hubspot.trouble.append("lose")
        assert kinds(await outcomes(provider, lost)) == [Unknown]
        (identity,) = hubspot.account.rows["contacts"]
        assert await provider.lookup(lost) == Applied(record_id=str(identity))
        assert await provider.lookup(operation(Kind.CREATE, "contacts", email="bob@example.org")) is None
        other = operation(Kind.CREATE, "contacts", email="ada@example.org", firstname="Eve")
        told = await provider.lookup(other)
        assert isinstance(told, Conflict), "an older record, perhaps"
        assert "a person must look" in told.reason
        assert told.current == Record(str(identity), {})
        nameless = operation(Kind.CREATE, "contacts", firstname="Ada")
        assert isinstance(await provider.lookup(nameless), Unknown)
        assert isinstance(await provider.lookup(deal(1)), Unknown)
