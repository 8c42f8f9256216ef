"""RestProvider with bulk calls of rows, by configuration, before the API of the examples."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from examples.acme import Acme, running_acme
from ratesync import SyncEngine
from ratesync.memory import MemoryBackend
from ratesync.model.batch import Batch, CreateIdentity
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, Unknown
from ratesync.providers import RequestBatch, Resource, RestProvider, RowBatch
from ratesync.testing.provider_calls import Sample
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite

pytestmark = pytest.mark.anyio

ROWS = RowBatch(path="/contacts:batch", size=10, reference="reference", fields_name="fields", status_name="status")


def in_rows(bulk: dict[Kind, RowBatch], **shape: Any) -> Resource:
    """A resource with bulk calls only."""
    return Resource(create=None, read=None, update=None, delete=None, bulk=bulk, **shape)


CONTACTS = in_rows({Kind.UPSERT: ROWS})
numbers = count(1)


@pytest.fixture(scope="module")
def acme() -> Iterator[Acme]:
    with running_acme(permits=10_000) as acme:
        yield acme


class TestRows(TroubleSuite):
    @pytest.fixture
    async def provider(self, acme: Acme) -> AsyncIterator[RestProvider]:
        async with RestProvider("acme", acme.url, resources=CONTACTS) as provider:
            yield provider

    @pytest.fixture
    def provider_over(self, acme: Acme) -> ProviderOver:
        return lambda transport: RestProvider(
            "acme", acme.url, resources=CONTACTS, transport=transport, max_response_bytes=200_000
        )

    @pytest.fixture
    def sample(self) -> Sample:
        async def make(kind: Kind) -> Operation:
            number = next(numbers)
            return Operation(
                provider="acme",
                resource="contacts",
                kind=kind,
                record_id=f"r{number}",
                fields={"email": f"{number}@example.org"},
                id=f"o{number}",
                idempotency_key=f"o{number}",
            )

        return make


async def test_thirty_upserts_are_three_calls_and_a_bad_one_spoils_nothing(acme: Acme) -> None:
    served = acme.served
    async with (
        RestProvider("acme", acme.url, resources=CONTACTS) as provider,
        SyncEngine(backend=MemoryBackend(), providers=[provider]) as engine,
    ):
        tickets = await engine.submit_many(
            Operation.upsert(
                "acme", "contacts", f"u{number}", {"email": "nobody" if number == 7 else f"{number}@example.org"}
            )
            for number in range(30)
        )
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Applied)] == [7]
    assert isinstance(outcomes[7], Rejected)
    names = {outcome.record_id for outcome in outcomes if isinstance(outcome, Applied)}
    assert names == {f"u{number}" for number in range(30)} - {"u7"}
    assert acme.contacts["u8"] == {"email": "8@example.org"}
    assert acme.served - served == 3


async def carried_out(answer: Any, bulk: RowBatch, *operations: Operation, **shape: Any) -> dict[str, Outcome]:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer(json.loads(request.content))))
    resource = in_rows({operations[0].kind: bulk}, **shape)
    async with RestProvider("acme", "https://a.example", resources=resource, transport=transport) as provider:
        return dict(await provider.execute(Batch(operations[0].lane, "contacts", operations[0].kind, operations)))


def update(record_id: str, identity: str, **fields: Any) -> Operation:
    return Operation.update("acme", "contacts", record_id, fields, id=identity)


async def test_rows_are_matched_by_record_id_where_nothing_else_is_sent_along() -> None:
    sent: list[Any] = []

    def answer(body: Any) -> Any:
        sent.append(body)
        return {"data": {"results": [{"vid": 2, "rev": "b"}, {"vid": 1, "rev": "a"}, {"vid": 9}]}}

    rows = RowBatch(
        path="/{resource}/batch/update", rows="inputs", results="data.results", id_name="vid", result_id="vid"
    )
    found = await carried_out(
        answer,
        rows,
        update("1", "o1", a=1, id=7),
        update("2", "o2"),
        update("3", "o3"),
        version_path="rev",
        id_path="vid",
        read_only={"id"},
    )
    assert sent == [{"inputs": [{"a": 1, "vid": "1"}, {"vid": "2"}, {"vid": "3"}]}]
    assert (found["o1"], found["o2"]) == (Applied(version="a"), Applied(version="b"))
    assert isinstance(found["o3"], Unknown)


async def test_a_row_s_own_status_and_words_are_heeded() -> None:
    def answer(body: Any) -> Any:
        return {
            "results": [
                {"id": "1", "code": 422, "error": {"code": "bad_mail", "message": "no @"}},
                {"id": "2", "code": "409", "now": {"id": "2", "n": 1}},
                {"id": "3", "code": 500},
                {"id": "4", "code": "soon"},
            ]
        }

    rows = RowBatch(path="/b", status_name="code")
    operations = [update(str(number), f"o{number}") for number in range(1, 5)]
    found = await carried_out(answer, rows, *operations, current_path="now")
    assert found["o1"] == Rejected("HTTP 422 Unprocessable Entity: no @", "bad_mail")
    conflict = found["o2"]
    assert isinstance(conflict, Conflict)
    assert conflict.current is not None
    assert conflict.current.fields["n"] == 1
    assert [type(found[name]) for name in ("o3", "o4")] == [Unknown, Unknown]


async def test_creates_are_matched_by_their_reference() -> None:
    """As the provider assigns their ids."""

    def answer(body: Any) -> Any:
        return {"results": [{"ref": row["ref"], "id": f"of-{row['ref']}"} for row in reversed(body["rows"])]}

    rows = RowBatch(path="/b", reference="ref")
    creates = [Operation.create("acme", "contacts", {"a": 1}, id=f"o{number}") for number in range(3)]
    found = await carried_out(answer, rows, *creates)
    assert found == {f"o{number}": Applied(f"of-o{number}") for number in range(3)}


async def test_a_version_is_sent_along_or_refused() -> None:
    conditional = Operation.update("acme", "contacts", "1", {}, id="o1", if_version="7")
    seen: list[Any] = []

    def answer(body: Any) -> Any:
        seen.append(body)
        return {"results": [{"id": "1"}]}

    refused = await carried_out(answer, RowBatch(path="/b"), conditional)
    assert isinstance(refused["o1"], Rejected)
    assert seen == [], "nothing was sent"
    await carried_out(answer, RowBatch(path="/b", version_name="if_match"), conditional)
    assert seen == [{"rows": [{"id": "1", "if_match": "7"}]}]


def test_each_kind_goes_in_batches_of_its_own_size() -> None:
    def most(resources: Resource | dict[str, Resource], batch: RequestBatch | None = None) -> tuple[int, int]:
        able = RestProvider("acme", "https://a.example", resources=resources, batch=batch).capabilities
        return able.most(Kind.UPDATE), able.most(Kind.CREATE)

    mixed = Resource(bulk={Kind.UPDATE: ROWS})
    assert most(mixed) == (10, 1)
    assert most(mixed, RequestBatch(size=50)) == (10, 50)
    assert most({"contacts": mixed, "deals": Resource()}) == (1, 1)
    assert most({"contacts": mixed, "notes": Resource(update=None)}) == (10, 1)


def test_creates_in_rows_are_not_taken_for_safe() -> None:
    shape = in_rows({Kind.CREATE: ROWS})
    provider = RestProvider("acme", "https://a.example", resources=shape, idempotency_header="Idempotency-Key")
    assert provider.capabilities.create_identity is CreateIdentity.NONE


async def test_a_path_that_leads_astray_is_rejected_for_each_operation() -> None:
    astray = Operation.update("acme", "contacts", "1", {}, id="o1", connection="..")
    seen: list[Any] = []
    found = await carried_out(seen.append, RowBatch(path="/{connection}/batch"), astray)
    assert isinstance(found["o1"], Rejected)
    assert seen == []


async def test_an_unknown_resource_is_rejected_for_each_operation() -> None:
    async with RestProvider("acme", "https://a.example", resources={"contacts": CONTACTS}) as provider:
        operations = tuple(Operation.upsert("acme", "deals", str(n), {}, id=f"o{n}") for n in range(2))
        found = await provider.execute(Batch(operations[0].lane, "deals", Kind.UPSERT, operations))
    assert {type(outcome) for outcome in found.values()} == {Rejected}
