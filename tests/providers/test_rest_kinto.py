"""RestProvider against software of others: a real Kinto."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import httpx
import httpx2
import pytest
from httpx_aiohttp import HttpxAiohttpClient

from ratesync.http import fast_transport
from ratesync.model.batch import Batch
from ratesync.model.operation import Fields, Operation, Options
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater
from ratesync.providers import RestProvider
from tests.providers.kinto import kinto_provider
from tests.servers.kinto_server import Kinto

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
ADA = {"name": "Ада Lovelace 😀", "age": 36, "tags": ["a", {"b": None}]}
collections = count(1)


@pytest.fixture
def contacts(kinto: Kinto) -> str:
    """A collection of its own for each test."""
    name = f"rest_{next(collections)}"
    kinto.create_collection("crm", name, SCHEMA)
    return name


@pytest.fixture
async def provider(kinto: Kinto) -> AsyncIterator[RestProvider]:
    async with kinto_provider(kinto) as provider:
        yield provider


async def carry_out(provider: RestProvider, operation: Operation) -> Outcome:
    batch = Batch(operation.lane, operation.resource, operation.kind, (operation,))
    return (await provider.execute(batch))[operation.id or ""]


async def applied(provider: RestProvider, operation: Operation) -> Applied:
    outcome = await carry_out(provider, operation)
    assert isinstance(outcome, Applied)
    return outcome


def without_marks(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in {"id", "last_modified", "schema"}}


async def test_a_record_lives_from_create_to_delete(provider: RestProvider, contacts: str) -> None:
    created = await applied(provider, Operation.create("kinto", contacts, ADA, id="o1"))
    assert created.record_id
    read = await applied(provider, Operation.read("kinto", contacts, created.record_id, id="o2"))
    assert read.record is not None
    assert (read.record.record_id, read.record.version) == (created.record_id, created.version)
    assert without_marks(read.record.fields) == ADA
    updated = await applied(provider, Operation.update("kinto", contacts, created.record_id, {"age": 37}, id="o3"))
    assert updated.version not in {None, created.version}
    read = await applied(provider, Operation.read("kinto", contacts, created.record_id, id="o4"))
    assert read.record is not None
    assert without_marks(read.record.fields) == {**ADA, "age": 37}, "a PATCH keeps the other fields"
    await applied(provider, Operation.delete("kinto", contacts, created.record_id, id="o5"))
    gone = await carry_out(provider, Operation.read("kinto", contacts, created.record_id, id="o6"))
    assert isinstance(gone, Rejected)
    assert isinstance(
        await carry_out(provider, Operation.delete("kinto", contacts, created.record_id, id="o7")), Applied
    )


async def test_a_create_under_a_chosen_id_happens_once(provider: RestProvider, contacts: str) -> None:
    create = Operation.create("kinto", contacts, ADA, record_id="ada", id="o1")
    first = await applied(provider, create)
    assert first.record_id == "ada"
    second = await carry_out(provider, create)
    assert isinstance(second, Conflict)
    assert second.current is not None
    assert (second.current.record_id, second.current.version) == ("ada", first.version)
    assert without_marks(second.current.fields) == ADA


async def test_an_upsert_creates_and_then_replaces(provider: RestProvider, contacts: str) -> None:
    for age in (36, 37):
        outcome = await applied(provider, Operation.upsert("kinto", contacts, "ada", {"age": age}, id="o1"))
        assert outcome.record_id == "ada"
    read = await applied(provider, Operation.read("kinto", contacts, "ada", id="o2"))
    assert read.record is not None
    assert without_marks(read.record.fields) == {"age": 37}


async def test_case_57_a_write_to_a_record_that_has_changed_is_a_conflict(
    provider: RestProvider, contacts: str
) -> None:
    first = await applied(provider, Operation.create("kinto", contacts, ADA, record_id="ada", id="o1"))
    update: Options = {"if_version": first.version, "id": "o2"}
    second = await applied(provider, Operation.update("kinto", contacts, "ada", {"age": 37}, **update))
    for stale in (
        Operation.update("kinto", contacts, "ada", {"age": 38}, **update),
        Operation.upsert("kinto", contacts, "ada", {"age": 38}, **update),
        Operation.delete("kinto", contacts, "ada", **update),
    ):
        outcome = await carry_out(provider, stale)
        assert isinstance(outcome, Conflict)
        assert outcome.reason.startswith("HTTP 412 Precondition Failed")
        assert outcome.current is not None
        assert outcome.current.version == second.version
        assert outcome.current.fields["age"] == 37
    await applied(provider, Operation.delete("kinto", contacts, "ada", if_version=second.version, id="o3"))


async def test_what_kinto_does_not_accept_is_rejected_with_its_words(provider: RestProvider, contacts: str) -> None:
    outcome = await carry_out(provider, Operation.create("kinto", contacts, {"age": "old"}, id="o1"))
    assert isinstance(outcome, Rejected)
    assert outcome.reason.startswith("HTTP 400 Bad Request: ")
    assert "age" in outcome.reason
    assert outcome.code == "107"


async def test_wrong_credentials_pause_the_lane(provider: RestProvider, contacts: str) -> None:
    operation = Operation.read("kinto", contacts, "ada", connection="stranger", id="o1")
    outcome = await carry_out(provider, operation)
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.UNAUTHORISED


@pytest.mark.parametrize(
    "record_id", ["", ".", "..", "../../collections", "a/b", "a?b=c", "a#b", "%2e%2e", "records/.."]
)
async def test_no_id_reaches_anything_but_one_record(provider: RestProvider, contacts: str, record_id: str) -> None:
    """Kinto deletes a whole collection on DELETE of its path."""
    for name in ("ada", "eve"):
        await applied(provider, Operation.create("kinto", contacts, {}, record_id=name, id="o1"))
    await carry_out(provider, Operation.delete("kinto", contacts, record_id, id="o2"))
    for name in ("ada", "eve"):
        await applied(provider, Operation.read("kinto", contacts, name, id="o3"))


@pytest.mark.parametrize("way", ["httpx client", "httpx2 client", "fast transport", "httpx-aiohttp client"])
async def test_every_client_and_transport_speaks_to_kinto(kinto: Kinto, contacts: str, way: str) -> None:
    clients = {"httpx client": httpx.AsyncClient, "httpx2 client": httpx2.AsyncClient}
    client = clients.get(way, HttpxAiohttpClient)(trust_env=False)
    how: dict[str, Any] = {"transport": fast_transport()} if way == "fast transport" else {"client": client}
    async with client, kinto_provider(kinto, **how) as provider:
        first = await applied(provider, Operation.create("kinto", contacts, ADA, record_id="ada", id="o1"))
        again = Operation.update("kinto", contacts, "ada", {"age": 1}, if_version=first.version, id="o2")
        await applied(provider, again)
        assert isinstance(await carry_out(provider, again), Conflict)
