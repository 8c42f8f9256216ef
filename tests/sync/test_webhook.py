"""Deliveries to webhooks become marks: verified first, each once, and nothing but ids is taken from them."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from typing_extensions import override

from ratesync import SyncEngine
from ratesync.engine.sync.webhook import WebhookEndpoint
from ratesync.errors import WebhookRefused
from ratesync.http import HmacSignature, HubSpotV3, StripeSignature, WebhookVerifier
from ratesync.model.event import WebhookTaken
from ratesync.model.hint import Hint, WebhookAnswer
from ratesync.model.stored import Stored
from ratesync.providers import JsonHints
from ratesync.providers.hubspot import HubSpotHints
from ratesync.providers.pipedrive import WebhookReader
from tests.sync.test_desk import binding
from tests.sync.test_run import CountedStore, World, anyio_backend

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

SECRET = "of this endpoint only"
PREFIX = "sync/crm/default/contacts/"


def endpoint(world: World, **options: Any) -> WebhookEndpoint:
    given: dict[str, Any] = {
        "provider": "crm",
        "verifier": WebhookVerifier(StripeSignature(SECRET), clock=world.clock),
        "reader": JsonHints(resource="contacts", record_id="object.id", account_at="account"),
        "resources": {"contacts"},
    }
    return WebhookEndpoint(**(given | options))


def signed(world: World, value: Any, *, age: float = 0.0, secret: str = SECRET) -> tuple[dict[str, str], bytes]:
    body = json.dumps(value).encode()
    stamp = str(int(world.clock.now() - age))
    signature = hmac.digest(secret.encode(), f"{stamp}.".encode() + body, "sha256").hex()
    return {"Stripe-Signature": f"t={stamp},v1={signature}"}, body


async def marks(world: World, prefix: str = PREFIX) -> list[str]:
    found = await world.state.scan(f"{prefix}mark/", limit=10_000)
    return [stored.key.rpartition("/")[2] for stored in found]


async def test_a_delivery_marks_its_record_and_wakes_the_sync() -> None:
    world = World()
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        tasks.start_soon(lambda: engine.syncs.run(binding(world.local), every=3600))
        await anyio.sleep(1)
        record = world.crm.inner.put("x1", {"name": "Ada"})
        headers, body = signed(world, {"object": {"id": record.record_id}})
        answer = await engine.syncs.webhook(endpoint(world), headers, body)
        assert answer == WebhookAnswer(200, marked=1)
        await anyio.sleep(0.1)
        assert world.names() == (["Ada"], ["Ada"])
        (told,) = world.told(WebhookTaken)
        assert (told.provider, told.marked, told.unknown) == ("crm", 1, 0)


@pytest.mark.parametrize(
    ("changed", "status", "fault"),
    [
        ({"secret": "guessed"}, 401, "signature"),
        ({"age": 400.0}, 401, "timestamp"),
        ({"age": -400.0}, 401, "timestamp"),
    ],
)
async def test_nothing_is_read_or_written_before_the_signature_holds(
    changed: dict[str, Any], status: int, fault: str
) -> None:
    world = World()
    async with world.engine() as engine:
        headers, body = signed(world, {"object": {"id": "x1"}}, **changed)
        assert await engine.syncs.webhook(endpoint(world), headers, body) == WebhookAnswer(status, fault=fault)
        assert await engine.syncs.webhook(endpoint(world), {}, body) == WebhookAnswer(401, fault="headers")
        headers, body = signed(world, {"object": {"id": "x1"}})
        forged = body.replace(b"x1", b"x2")
        assert (await engine.syncs.webhook(endpoint(world), headers, forged)).status == 401
        assert (world.state.loads, world.state.scans, len(world.state.commits)) == (0, 0, 0)


async def test_a_delivery_counts_once_while_it_is_remembered() -> None:
    world = World()
    unstamped = WebhookVerifier(HmacSignature(secrets=SECRET), clock=world.clock)
    point = endpoint(world, verifier=unstamped, remember=600.0)
    body = json.dumps({"object": {"id": "x1"}}).encode()
    headers = {"X-Signature": hmac.digest(SECRET.encode(), body, "sha256").hex()}
    async with world.engine() as engine:
        assert (await engine.syncs.webhook(point, headers, body)).marked == 1
        written = len(world.state.commits)
        assert await engine.syncs.webhook(point, headers, body) == WebhookAnswer(200, fault="replayed")
        assert len(world.state.commits) == written
        await anyio.sleep(601)
        assert (await engine.syncs.webhook(point, headers, body)).marked == 1


async def test_a_delivery_that_comes_twice_at_once_counts_once() -> None:
    world = World()
    headers, body = signed(world, {"object": {"id": "x1"}})
    answers: list[WebhookAnswer] = []
    async with world.engine() as engine:

        async def deliver() -> None:
            answers.append(await engine.syncs.webhook(endpoint(world), headers, body))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(deliver)
    assert sorted(answer.fault for answer in answers) == ["", "replayed", "replayed", "replayed", "replayed"]


async def test_what_is_remembered_is_bounded_and_two_that_share_a_place_are_both_taken() -> None:
    world = World()
    point = endpoint(world, slots=3)
    async with world.engine() as engine:

        async def deliver(number: int) -> None:
            headers, body = signed(world, {"object": {"id": f"x{number}"}})
            assert (await engine.syncs.webhook(point, headers, body)).marked == 1

        async with anyio.create_task_group() as tasks:  # at once: they push each other out
            for number in range(6):
                tasks.start_soon(deliver, number)
        for number in range(6, 40):
            await deliver(number)
        assert len(await world.state.scan("delivery/", limit=100)) == 3
        assert len(await marks(world)) == 40


async def test_several_records_in_a_body_are_marked_and_those_that_nobody_syncs_are_counted() -> None:
    world = World()
    items = JsonHints(
        items="events", resource_at="kind", record_id="object.id", account_at="account", names={"person": "contacts"}
    )

    async def look_up(account: str | None) -> str | None:
        await anyio.sleep(0.1)
        return {"7": "one", "8": "two"}.get(account or "")

    point = endpoint(world, reader=items, connections=look_up)
    events = [
        {"kind": "person", "account": 7, "object": {"id": 1}},
        {"kind": "person", "account": 7, "object": {"id": "1"}},
        {"kind": "person", "account": "8", "object": {"id": "1"}},
        {"kind": "person", "account": 9, "object": {"id": "1"}},  # an account that nobody has here
        {"kind": "deal", "account": 7, "object": {"id": "5"}},  # a resource that nobody syncs
        {"kind": "person", "object": {"id": "1"}},
        {"kind": "person", "account": 7, "object": {"id": "a\0b"}},
        {"kind": "person", "account": 7, "object": {"id": "x" * 300}},
        {"kind": "person", "account": 7, "object": {"id": None}},
        {"kind": "person", "account": 7, "object": {"id": True}},
        {"kind": "person", "account": 7},
        None,
    ]
    async with world.engine() as engine:
        headers, body = signed(world, {"events": events})
        answer = await engine.syncs.webhook(point, headers, body)
        assert answer == WebhookAnswer(200, marked=2, unknown=5)
        assert await marks(world, "sync/crm/one/contacts/") == ["1"]
        assert await marks(world, "sync/crm/two/contacts/") == ["1"]
        written = len(world.state.commits)
        headers, body = signed(world, {"events": events[3:6]})
        assert await engine.syncs.webhook(point, headers, body) == WebhookAnswer(200, unknown=3)
        assert len(world.state.commits) == written
        many = [{"kind": "person", "account": 7, "object": {"id": number}} for number in range(1200)]
        headers, body = signed(world, {"events": many})
        assert (await engine.syncs.webhook(point, headers, body)).marked == 1200
        assert max(map(len, world.state.commits)) <= 502


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100, b'{"events": {}}', b'{"x": NaN}'])
async def test_what_is_signed_and_makes_no_sense_is_refused(body: bytes) -> None:
    world = World()
    verifier = WebhookVerifier(HmacSignature(secrets=SECRET), clock=world.clock)
    point = endpoint(world, verifier=verifier, reader=JsonHints(items="events", resource="contacts", record_id="id"))
    headers = {"X-Signature": hmac.digest(SECRET.encode(), body, "sha256").hex()}
    async with world.engine() as engine:
        assert await engine.syncs.webhook(point, headers, body) == WebhookAnswer(400, fault="body")
    assert world.state.commits == []


async def test_deliveries_out_of_order_do_no_harm() -> None:
    """A late one says "look", and the record is as it is: no old value comes back."""
    world = World()
    record_id = world.crm.inner.put("x1", {"name": "first"}).record_id
    async with anyio.create_task_group() as tasks, world.engine() as engine:
        tasks.start_soon(lambda: engine.syncs.run(binding(world.local), every=3600))
        await anyio.sleep(1)
        late = signed(world, {"object": {"id": record_id}, "name": "second"})
        world.crm.inner.put(record_id, {"name": "second"})
        world.crm.inner.put(record_id, {"name": "third"})
        latest = signed(world, {"object": {"id": record_id}, "name": "third"})
        writes = world.crm.inner.writes
        for headers, body in (latest, late):
            assert (await engine.syncs.webhook(endpoint(world), headers, body)).marked == 1
            await anyio.sleep(2)
            assert world.names()[0] == ["third"]
        assert world.crm.inner.writes == writes


async def test_a_crash_before_the_commit_loses_nothing_and_after_it_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    headers, body = signed(world, {"object": {"id": "x1"}})
    async with world.engine() as engine:

        async def away(*_: object) -> Any:
            raise OSError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(world.state, "commit", away)
            with pytest.raises(OSError, match="gone"):  # the host answers 5xx, and it comes again
                await engine.syncs.webhook(endpoint(world), headers, body)
        assert (await engine.syncs.webhook(endpoint(world), headers, body)).marked == 1
        assert (await engine.syncs.webhook(endpoint(world), headers, body)).fault == "replayed"


async def test_hubspot_tells_several_records_of_several_accounts() -> None:
    world = World()
    url = "https://app.example/hooks/hubspot"
    events = [
        {"portalId": 62515, "subscriptionType": "contact.propertyChange", "objectId": 512, "occurredAt": 2},
        {"portalId": 62515, "subscriptionType": "contact.deletion", "objectId": 513, "occurredAt": 1},
        {"portalId": 1, "subscriptionType": "contact.creation", "objectId": 9, "occurredAt": 1},
        {"portalId": 62515, "subscriptionType": "company.creation", "objectId": 77, "occurredAt": 1},
    ]
    body, stamp = json.dumps(events).encode(), str(int(world.clock.now() * 1000))
    message = f"POST{url}".encode() + body + stamp.encode()
    signature = b64encode(hmac.digest(SECRET.encode(), message, "sha256")).decode()
    headers = {"X-HubSpot-Request-Timestamp": stamp, "X-HubSpot-Signature-v3": signature}
    point = WebhookEndpoint(
        provider="crm",
        verifier=WebhookVerifier(HubSpotV3(SECRET), clock=world.clock),
        reader=HubSpotHints(),
        resources={"contacts"},
        connections={"62515": "default"},
    )
    async with world.engine() as engine:
        assert (await engine.syncs.webhook(point, headers, body, url="https://other.example/")).status == 401
        answer = await engine.syncs.webhook(point, headers, body, url=url)
        assert answer == WebhookAnswer(200, marked=2, unknown=2)
        assert await marks(world) == ["512", "513"]


async def test_pipedrive_tells_one_record() -> None:
    world = World()
    reader = WebhookReader("ratesync", SECRET)
    meta = {"version": "2.0", "id": "b7", "action": "delete", "entity": "person", "entity_id": "42", "company_id": 5}
    headers = {"Authorization": "Basic " + b64encode(f"ratesync:{SECRET}".encode()).decode()}
    point = WebhookEndpoint(
        provider="crm", verifier=reader, reader=reader, resources={"persons"}, connections={"5": "default"}
    )
    async with world.engine() as engine:
        deliver = engine.syncs.webhook
        assert (await deliver(point, headers, json.dumps({"meta": meta}).encode())).marked == 1
        assert (await deliver(point, headers, json.dumps({"meta": meta}).encode())).fault == "replayed"
        assert (await deliver(point, {}, b"{}")).status == 401
        assert (await deliver(point, headers, b"{}")).status == 400
        elsewhere = json.dumps({"meta": meta | {"id": "b8", "company_id": 6}}).encode()
        assert await deliver(point, headers, elsewhere) == WebhookAnswer(200, unknown=1)
        once = [(b"Authorization", headers["Authorization"].encode())]  # as ASGI servers give them
        assert (await deliver(point, once, elsewhere)).status == 200
        twice = once * 2
        assert (await deliver(point, twice, elsewhere)).status == 401
        assert await marks(world, "sync/crm/default/persons/") == ["42"]


def test_json_hints_want_one_way_to_know_the_resource() -> None:
    with pytest.raises(ValueError, match="resource"):
        JsonHints(record_id="id")
    with pytest.raises(ValueError, match="resource"):
        JsonHints(record_id="id", resource="a", resource_at="b")
    assert list(JsonHints(resource_at="type", record_id="id").hints({"type": "a", "id": 7})) == [Hint("a", "7")]
    assert list(JsonHints(resource="a", record_id="id").hints([{"id": 1}, {"id": "2"}, 3])) == [
        Hint("a", "1"),
        Hint("a", "2"),
    ]
    with pytest.raises(WebhookRefused):
        list(JsonHints(resource="a", record_id="id", items="x").hints({"x": 1}))


class SlowStore(CountedStore):
    """Takes its time to answer."""

    @override
    async def load(self, keys: Sequence[str]) -> Sequence[Stored | None]:
        found = await super().load(keys)
        await anyio.sleep(0.01)
        return found


async def test_a_web_process_without_a_worker_takes_deliveries_and_a_worker_elsewhere_does_the_rest() -> None:
    world = World()
    world.state = SlowStore()
    web: SyncEngine = world.engine(role="submit")
    async with anyio.create_task_group() as tasks, web, world.engine(role="work") as worker:
        tasks.start_soon(lambda: worker.syncs.run(binding(world.local), every=3600, look=2))
        await anyio.sleep(1)
        for number in range(30):
            record = world.crm.inner.put(f"x{number}", {"name": f"n{number:02}"})
            headers, body = signed(world, {"object": {"id": record.record_id}})
            assert (await web.syncs.webhook(endpoint(world), headers, body)).marked == 1
        await anyio.sleep(3.2)
        assert len(world.names()[0]) == 30
