"""A CRM as strict as a real one: quotas that count on arrival, latency, ETags, and random server errors.

Run it alone with `python -m examples.demo.crm_server --port 0`; it prints `PORT <number>` once it accepts connections.
From a program use `examples.demo.crm_process.running_crm`. Everything is kept in memory.

Customers' side, with `Authorization: Bearer <token>`; a token opens its own account only:

    GET | PUT | PATCH | DELETE  /accounts/{account}/{resource}/{id}
    POST                        /accounts/{account}/{resource}
    POST                        /accounts/{account}/{resource}:batch

A record is a flat JSON object with its `id`. PUT replaces or creates; with `If-None-Match: *` it creates only (else
412). PATCH is a JSON Merge Patch. `If-Match` is honoured by all writes (412). DELETE answers 204, or 404 when the
record is gone. POST gives the id, unless the body brings one, and honours `Idempotency-Key`: the same request is
answered as the first time. A batch is `{"rows": [{"action": "create" | "replace" | "update" | "delete", "id", "fields",
"if_match"}]}` of at most 100 rows and one request of the quota; its answer is `{"results": [{"id", "status", "etag" |
"error"}]}` in the same order. A request over the quota is answered 429. A write may carry its own number: `version` in
the fields, or `?version=` for DELETE (`version` beside `id` for a batch row that deletes). The log of applications
keeps it.

Operator's side, unlimited:

    GET /_admin/statistics                         per account: counts, and the highest use of each window
    GET /_admin/accounts/{account}/records         NDJSON: resource, id, etag, fields
    GET /_admin/accounts/{account}/applications    NDJSON, oldest first: resource, record_id, action, version, key,
                                                   answered
    GET /_admin/accounts/{account}/arrivals        JSON: seconds at which each accepted request arrived
    POST /_admin/stop                              ends the server
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import attrs
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .crm_account import AccountDesk, Mishaps
from .crm_options import DEMO_ACCOUNTS, CrmOptions
from .crm_quota import retry_after_header
from .crm_requests import BadRequest, batch_writes, collection_write, record_write
from .crm_store import Answer, JsonValue

ANSWERED_AFTER = 0.2
"""Seconds after which the answer to a wish to stop has surely gone out."""

Respond = Callable[[Request, AccountDesk], Awaitable[Answer]]


class Crm:
    """The CRM's accounts behind HTTP. `clock` gives seconds and never runs backwards."""

    def __init__(self, options: CrmOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._mishaps = Mishaps(options)
        self._desks = {account.name: AccountDesk(account, options, self._mishaps) for account in options.accounts}
        self.heard_at = clock()
        """When the last request came."""
        self._names = {f"Bearer {account.token}": account.name for account in options.accounts}

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route(
                    "/accounts/{account}/{resource}/{record_id:path}",
                    self._customers(self._record),
                    methods=["GET", "PUT", "PATCH", "DELETE"],
                ),
                Route("/accounts/{account}/{resource}:batch", self._customers(self._batch), methods=["POST"]),
                Route("/accounts/{account}/{resource}", self._customers(self._collection), methods=["POST"]),
                Route("/_admin/statistics", self._statistics),
                Route("/_admin/accounts/{account}/records", self._records),
                Route("/_admin/accounts/{account}/applications", self._applications),
                Route("/_admin/accounts/{account}/arrivals", self._arrivals),
                Route("/_admin/stop", self._stop, methods=["POST"]),
            ]
        )

    def _customers(self, respond: Respond) -> Callable[[Request], Awaitable[Response]]:
        """Wrap an endpoint in what holds for all customers: the token, the quota on arrival, the latency."""

        async def endpoint(request: Request) -> Response:
            arrived_at = self.heard_at = self._clock()
            name = self._names.get(request.headers.get("authorization", ""))
            if name is None:
                return _response(Answer(status=401, error="invalid_token"))
            if name != request.path_params["account"]:
                return _response(Answer(status=403, error="not_your_account"))
            desk = self._desks[name]
            wait = desk.arrive(arrived_at)
            await request.body()
            if wait > 0.0:
                return self._refusal(wait)
            await asyncio.sleep(self._mishaps.latency())
            try:
                return _response(await respond(request, desk))
            except BadRequest as error:
                return _response(Answer(status=400, error=f"bad_request: {error}"))

        return endpoint

    def _refusal(self, wait: float) -> Response:
        response = _response(Answer(status=429, error="too_many_requests"))
        retry_after = retry_after_header(wait, self._options.retry_after)
        if retry_after is not None:
            response.headers["retry-after"] = retry_after
        return response

    async def _record(self, request: Request, desk: AccountDesk) -> Answer:
        resource, record_id = request.path_params["resource"], request.path_params["record_id"]
        if request.method in ("GET", "HEAD"):
            return desk.read(resource, record_id)
        body = await request.body()
        write = record_write(
            request.method, resource, record_id, headers=request.headers, query=request.query_params, body=body
        )
        return desk.write(write)

    async def _collection(self, request: Request, desk: AccountDesk) -> Answer:
        body = await request.body()
        key = request.headers.get("idempotency-key")
        write = collection_write(request.path_params["resource"], key, body, desk.next_id)
        return desk.write(write, request=_fingerprint(request, body))

    async def _batch(self, request: Request, desk: AccountDesk) -> Answer:
        body = await request.body()
        writes = batch_writes(request.path_params["resource"], body)
        return desk.write_many(writes, request.headers.get("idempotency-key"), _fingerprint(request, body))

    async def _statistics(self, request: Request) -> Response:
        self.heard_at = self._clock()
        return JSONResponse({name: desk.statistics() for name, desk in self._desks.items()})

    async def _records(self, request: Request) -> Response:
        store = self._asked(request).store
        return _lines(
            {"resource": resource, "id": record_id, "etag": record.etag, "fields": dict(record.fields)}
            for (resource, record_id), record in list(store.records.items())
        )

    async def _applications(self, request: Request) -> Response:
        return _lines(attrs.asdict(application) for application in list(self._asked(request).store.applications))

    async def _arrivals(self, request: Request) -> Response:
        return JSONResponse(list(self._asked(request).accepted_at))

    async def _stop(self, request: Request) -> Response:
        threading.Timer(ANSWERED_AFTER, os._exit, (0,)).start()
        return JSONResponse({})

    def _asked(self, request: Request) -> AccountDesk:
        return self._desks[request.path_params["account"]]


def _fingerprint(request: Request, body: bytes) -> bytes:
    return request.url.path.encode() + b" " + body


def _response(answer: Answer) -> Response:
    headers = {"content-type": "application/json"}
    if answer.etag is not None:
        headers["etag"] = answer.etag
    content = answer.body
    if answer.error is not None:
        problem: dict[str, JsonValue] = {"error": answer.error}
        if answer.body:
            problem["current"] = json.loads(answer.body)
        content = json.dumps(problem, ensure_ascii=False).encode()
    return Response(content, answer.status, headers)


def _lines(rows: Iterable[dict[str, JsonValue]]) -> Response:
    # Asynchronous, or each row would make a trip to a worker thread.
    async def encoded() -> AsyncIterator[bytes]:
        for row in rows:
            # Escaped to ASCII: readers that split at Unicode line ends must see one row as one line.
            yield json.dumps(row).encode() + b"\n"

    return StreamingResponse(encoded(), media_type="application/x-ndjson")


def _stop_on_eof() -> None:
    """End this process when its standard input closes, so that it never outlives the program that started it."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def _stop_when_idle(crm: Crm, seconds: float) -> None:
    """End this process when nobody has asked anything for so long."""
    while time.monotonic() < crm.heard_at + seconds:
        time.sleep(1.0)
    os._exit(0)


def main() -> None:
    """Serve on 127.0.0.1 until stopped."""
    parser = argparse.ArgumentParser(description="A strict CRM to sync to.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--options", help="CrmOptions as JSON; default: four demo accounts")
    parser.add_argument("--stop-on-eof", action="store_true", help="stop when standard input closes")
    parser.add_argument("--stop-when-idle", type=float, metavar="SECONDS", help="stop when nobody asked for so long")
    arguments = parser.parse_args()
    options = CrmOptions.from_json(arguments.options) if arguments.options else CrmOptions(accounts=DEMO_ACCOUNTS)
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=2048)
    if arguments.stop_on_eof:
        threading.Thread(target=_stop_on_eof, daemon=True).start()
    crm = Crm(options)
    if arguments.stop_when_idle is not None:
        threading.Thread(target=_stop_when_idle, args=(crm, arguments.stop_when_idle), daemon=True).start()
    print(f"PORT {listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        crm.application(), access_log=False, log_level="warning", lifespan="off", timeout_keep_alive=75
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
