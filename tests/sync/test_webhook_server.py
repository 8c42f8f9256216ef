"""Webhooks over a real socket: a web application takes them in, a worker elsewhere brings the records together."""

from __future__ import annotations

import hmac
import json
import random
import socket
import threading
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import anyio
import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ratesync import Rate, SyncEngine
from ratesync.clock import SystemClock
from ratesync.engine.parts import Backend
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.webhook import WebhookEndpoint
from ratesync.http import StandardWebhooks, WebhookVerifier
from ratesync.memory import MemoryLimiter
from ratesync.memory.records import MemoryRecords
from ratesync.model.difference import Side
from ratesync.model.event import Event
from ratesync.providers import JsonHints
from ratesync.redis import RedisBackend
from ratesync.rules.resolvers import prefer
from ratesync.sqlite import SqliteBackend
from tests.servers.valkey_server import Valkey
from tests.sync.adapter import Crm
from tests.sync.fake_crm import FakeCrm
from tests.sync.test_desk import TRIAL

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINT = WebhookEndpoint(
    provider="crm",
    verifier=WebhookVerifier(StandardWebhooks(SECRET)),
    reader=JsonHints(items="events", resource="contacts", record_id="id"),
    resources={"contacts"},
)
_names = count()


def new_crm() -> Crm:
    return Crm(FakeCrm(TRIAL, SystemClock().now, random.Random(0)))


def application(backend: Backend) -> Starlette:
    """A web application: an engine that submits only, and one route."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[dict[str, SyncEngine]]:
        async with SyncEngine(backend=backend, providers=[new_crm()], role="submit") as engine:
            yield {"engine": engine}

    async def receive(request: Request) -> Response:
        engine: SyncEngine = request.state.engine
        answer = await engine.syncs.webhook(
            ENDPOINT, request.headers.items(), await request.body(), method=request.method, url=str(request.url)
        )
        return PlainTextResponse(answer.fault, answer.status)

    return Starlette(routes=[Route("/hooks/crm", receive, methods=["POST"])], lifespan=lifespan)


@contextmanager
def serving(app: Starlette) -> Generator[str]:
    """Its URL, while a server runs it in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        ends_at = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < ends_at, "the application does not serve"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/crm"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def delivery(identity: str, record_ids: list[str]) -> tuple[dict[str, str], bytes]:
    body = json.dumps({"events": [{"id": record_id} for record_id in record_ids]}).encode()
    stamp = str(int(time.time()))
    (secret,) = StandardWebhooks(SECRET).keys
    digest = hmac.digest(secret, f"{identity}.{stamp}.".encode() + body, "sha256")
    return {
        "webhook-id": identity,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }, body


@pytest.fixture(params=["sqlite", "redis"])
def new_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    """Makes backends that share everything, as those of several processes do."""
    if request.param == "sqlite":
        return lambda: SqliteBackend(tmp_path / "sync.db", limiter=MemoryLimiter())
    server: Valkey = request.getfixturevalue("shared_valkey")
    prefix = f"hooks{next(_names)}"
    return lambda: RedisBackend.from_url(server.url, prefix=prefix)


def test_deliveries_go_in_by_the_web_and_come_out_by_the_worker(new_backend: Callable[[], Backend]) -> None:
    crm, local = new_crm(), MemoryRecords()
    bound = Binding(local=local, provider="crm", resource="contacts", resolve=prefer(Side.LOCAL))

    async def work(url: str) -> None:
        done = anyio.Event()

        def observe(_event: Event) -> None:
            if len(local.records) == 3:
                done.set()

        quotas = {"crm": [Rate(1000, per=1)]}
        worker = SyncEngine(backend=new_backend(), providers=[crm], quotas=quotas, role="work", observers=[observe])
        async with anyio.create_task_group() as tasks, worker, httpx.AsyncClient() as client:
            tasks.start_soon(lambda: worker.syncs.run(bound, every=3600, look=0.05))
            await anyio.sleep(0.1)
            ids = [crm.inner.put(f"x{number}", {"name": f"n{number}"}).record_id for number in range(3)]
            headers, body = delivery("msg_1", ids)
            forged = await client.post(url, headers=headers, content=body.replace(b"x1", b"x9"))
            assert (forged.status_code, forged.text) == (401, "signature")
            assert (await client.post(url, headers=headers, content=body)).status_code == 200
            again = await client.post(url, headers=headers, content=body)
            assert (again.status_code, again.text) == (200, "replayed")
            with anyio.fail_after(20):
                await done.wait()
            assert sorted(record.fields["name"] for record in local.records.values()) == ["n0", "n1", "n2"]

    with serving(application(new_backend())) as url:
        anyio.run(work, url)
