"""Answers to batches that are broken, huge, slow, astray or about other rows: over a socket, through the engine.

Ten creates go out in one call. The provider carries them out, and its answer is hostile. Whatever it is, the adapter
classifies it and reads no more of it than it may; the operations end in the right state, and none is lost or done
twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ratesync import Applied, Operation, OperationState, Rejected, SyncEngine
from ratesync.http import Account, Bearer
from ratesync.memory import MemoryBackend
from ratesync.model.policy import CircuitPolicy, RetryPolicy
from ratesync.model.settings import Settings
from ratesync.providers.kinto import KintoProvider
from tests.providers.batch_answers import BatchEndpoint, Json, Spoil
from tests.servers.fault_server import FaultServer, Reply
from tests.servers.replies import UNREADABLE_BODIES, answer, endless_body, html, redirect, slow_body, slow_headers

pytestmark = pytest.mark.anyio

BATCH = "/v1/batch"
RECORDS = "/buckets/crm/collections/contacts/records"
NAMES = [f"r{number}" for number in range(10)]
PATHS = {f"{RECORDS}/{name}" for name in NAMES}
CAP = 1_000_000
GIGABYTES = 2 * 1024**3
HASTY = Settings(
    retry=RetryPolicy(base_delay=0.01, max_delay=0.05, budget_ratio=1.0), circuit=CircuitPolicy(min_calls=1_000)
)


@pytest.fixture
def endpoint() -> BatchEndpoint:
    return BatchEndpoint()


@asynccontextmanager
async def running(server: FaultServer, timeout: float = 10.0) -> AsyncGenerator[SyncEngine]:
    async with (
        KintoProvider(
            f"{server.url}/v1", Account(Bearer("token")), bucket="crm", timeout=timeout, max_response_bytes=CAP
        ) as provider,
        SyncEngine(backend=MemoryBackend(), providers=[provider], settings=HASTY) as engine,
    ):
        yield engine


async def ends_well(server: FaultServer, endpoint: BatchEndpoint, hostile: Reply, *, timeout: float = 10.0) -> None:
    """After one hostile answer all is done, each record written once."""
    server.script(BATCH, hostile, endpoint.good)
    async with running(server, timeout) as engine:
        tickets = await engine.submit_many(
            Operation.create("kinto", "contacts", {"n": 1}, record_id=name) for name in NAMES
        )
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
        states = [(await ticket.status()).state for ticket in tickets]
        assert await engine.dead_letters() == []
    assert [outcome.record_id for outcome in outcomes if isinstance(outcome, Applied)] == NAMES
    assert set(states) == {OperationState.COMPLETED}
    assert sorted(endpoint.writes) == sorted(PATHS), "nothing is lost, and nothing was done twice"
    assert 2 <= len(server.requests) <= 11, "what is in doubt is asked for again, together or one by one"


@pytest.mark.parametrize("fault", UNREADABLE_BODIES)
async def test_malformed_json(fault_server: FaultServer, endpoint: BatchEndpoint, fault: str) -> None:
    await ends_well(fault_server, endpoint, endpoint.behind(UNREADABLE_BODIES[fault]))


@pytest.mark.parametrize(
    "hostile",
    [html(200), answer(200, b"OK", {"content-type": "text/plain"}), answer(204)],
    ids=["HTML", "plain text", "nothing"],
)
async def test_wrong_content_type(fault_server: FaultServer, endpoint: BatchEndpoint, hostile: Reply) -> None:
    await ends_well(fault_server, endpoint, endpoint.behind(hostile))


@pytest.mark.parametrize("declared", [GIGABYTES, None], ids=["declared", "in chunks"])
async def test_a_body_of_two_gigabytes(
    fault_server: FaultServer, endpoint: BatchEndpoint, declared: int | None
) -> None:
    await ends_well(fault_server, endpoint, endpoint.behind(endless_body(declared)))
    assert fault_server.bytes_sent < 20 * CAP, "the rest was not waited for"


async def test_json_ten_thousand_deep(fault_server: FaultServer, endpoint: BatchEndpoint) -> None:
    deep = b'{"responses":' * 10_000 + b"[]" + b"}" * 10_000
    await ends_well(fault_server, endpoint, endpoint.behind(answer(200, deep, {"content-type": "application/json"})))


@pytest.mark.parametrize("hostile", [slow_headers(), slow_body()], ids=["headers", "body"])
async def test_slow_loris(fault_server: FaultServer, endpoint: BatchEndpoint, hostile: Reply) -> None:
    await ends_well(fault_server, endpoint, endpoint.behind(hostile), timeout=0.5)


async def test_a_redirect_to_another_host(
    fault_server: FaultServer, other_origin: FaultServer, endpoint: BatchEndpoint
) -> None:
    """That is for somebody to look at: the operations are dead letters, and done once they are replayed."""
    fault_server.script(BATCH, redirect(other_origin.url + BATCH))
    async with running(fault_server) as engine:
        tickets = await engine.submit_many(
            Operation.create("kinto", "contacts", {"n": 1}, record_id=name) for name in NAMES
        )
        for ticket in tickets:
            outcome = await ticket.outcome(timeout=30)
            assert isinstance(outcome, Rejected)
            assert outcome.code == "unsafe_redirect"
        assert other_origin.requests == []
        letters = await engine.dead_letters()
        assert {letter.operation.record_id for letter in letters} == set(NAMES)
        fault_server.script(BATCH, endpoint.good)
        await engine.replay([str(letter.operation.id) for letter in letters])
        assert await engine.drain(timeout=30)
        assert await engine.dead_letters() == []
    assert sorted(endpoint.writes) == sorted(PATHS)
    assert other_origin.requests == []


def without(*missing: int) -> Spoil:
    return lambda rows: {"responses": [row for number, row in enumerate(rows) if number not in missing]}


@pytest.mark.parametrize(
    "spoil", [without(0), without(9), without(*range(1, 10)), without(*range(10))], ids=["first", "last", "most", "all"]
)
async def test_missing_rows(fault_server: FaultServer, endpoint: BatchEndpoint, spoil: Spoil) -> None:
    await ends_well(fault_server, endpoint, endpoint.spoilt(spoil))


ODD_ROWS: list[Any] = [
    None,
    7,
    "r1",
    [],
    {},
    {"status": 201},
    {"path": None, "status": 201},
    {"path": ["/v1"], "status": [201]},
    {"path": "/v1" + RECORDS, "status": 201},
    {"path": f"/v1{RECORDS}/nobody", "status": 201, "body": {"data": {"id": "nobody"}}},
]


async def done_at_once(server: FaultServer, endpoint: BatchEndpoint, spoil: Spoil) -> None:
    """What is said of each operation is plain, so one call is enough."""
    server.script(BATCH, endpoint.spoilt(spoil))
    async with running(server) as engine:
        tickets = await engine.submit_many(
            Operation.create("kinto", "contacts", {"n": 1}, record_id=name) for name in NAMES
        )
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert [outcome.record_id for outcome in outcomes if isinstance(outcome, Applied)] == NAMES
    assert sorted(endpoint.writes) == sorted(PATHS)


async def test_extra_rows(fault_server: FaultServer, endpoint: BatchEndpoint) -> None:
    await done_at_once(fault_server, endpoint, lambda rows: {"responses": [*ODD_ROWS, *rows, *ODD_ROWS]})


@pytest.mark.parametrize("step", [-1, 3])
async def test_reordered_rows(fault_server: FaultServer, endpoint: BatchEndpoint, step: int) -> None:
    def shuffle(rows: list[Json]) -> Json:
        return {"responses": [rows[number * step % len(rows)] for number in range(len(rows))]}

    await done_at_once(fault_server, endpoint, shuffle)


async def test_the_same_row_twice(fault_server: FaultServer, endpoint: BatchEndpoint) -> None:
    await done_at_once(fault_server, endpoint, lambda rows: {"responses": rows + rows})


async def test_rows_of_the_same_id_that_contradict_each_other(
    fault_server: FaultServer, endpoint: BatchEndpoint
) -> None:
    def contradict(rows: list[Json]) -> Json:
        return {"responses": [*rows, *({**row, "status": 400, "body": {}} for row in rows)]}

    await ends_well(fault_server, endpoint, endpoint.spoilt(contradict))


@pytest.mark.parametrize(
    "status", [0, 99, 600, 10**30, -201, 201.5, True, "created", None, [201], {"code": 201}], ids=repr
)
async def test_rows_without_a_status(fault_server: FaultServer, endpoint: BatchEndpoint, status: object) -> None:
    await ends_well(
        fault_server, endpoint, endpoint.spoilt(lambda rows: {"responses": [{**row, "status": status} for row in rows]})
    )


@pytest.mark.parametrize(
    "body", [None, [], {}, {"responses": None}, {"responses": {}}, {"responses": "201"}, 7, "ok"], ids=repr
)
async def test_an_answer_without_rows(fault_server: FaultServer, endpoint: BatchEndpoint, body: object) -> None:
    await ends_well(fault_server, endpoint, endpoint.spoilt(lambda rows: body))


@pytest.mark.parametrize("status", [404, 410])
async def test_a_batch_endpoint_that_is_gone_does_not_make_deletes_done(
    fault_server: FaultServer, endpoint: BatchEndpoint, status: int
) -> None:
    """For the path of one record it would say that the record is gone."""
    fault_server.script(BATCH, answer(status))
    async with running(fault_server) as engine:
        tickets = await engine.submit_many(Operation.delete("kinto", "contacts", name) for name in NAMES)
        outcomes = [await ticket.outcome(timeout=30) for ticket in tickets]
    assert {type(outcome) for outcome in outcomes} == {Rejected}
