"""A faithful HubSpot: the CRM's v3 endpoints over HTTP, with its limits, partial failures, search lag and tokens.

    with HubSpotServer() as server:
        server.account.seed("contacts", 3, email="ada@example.org")
        httpx.get(server.url + "/crm/v3/objects/contacts", headers={"authorization": f"Bearer {server.token}"})

What it keeps is in `hubspot_account`, how it searches in `hubspot_search`. `transport` answers without a socket.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import threading
import time
from collections import deque
from email.utils import formatdate
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl

import anyio.lowlevel
import httpx
import uvicorn
from attrs import define, field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from tests.servers.hubspot_account import SINGULAR, UNIQUE, Account, Json, Refused, Row, stamp
from tests.servers.hubspot_search import search

MOST_INPUTS = 100
START_TIMEOUT = 10.0
DEFAULT = ("email", "firstname", "lastname", "name", "domain", "dealname", "amount")


@define
class Asked:
    """A request as it came."""

    method: str
    path: str
    params: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body) if self.body else None


Answer = tuple[int, Json | bytes | None, dict[str, str]]


@define
class HubSpot:
    """The API before an account."""

    account: Account = field(factory=Account)
    burst: int = 1_000
    """Calls in ``window`` seconds, over a rolling window of real time."""
    window: float = 10.0
    searches: int = 1_000
    """Searches in a second."""
    daily: int = 250_000
    is_partial: bool = True
    """A batch of creates with trace ids is carried out in part where some are wrong."""
    token: str = "token-1"
    refresh_token: str = "refresh-1"
    requests: list[Asked] = field(factory=list[Asked])
    trouble: deque[str] = field(factory=deque[str])
    """What goes wrong with the next calls: a status, or "lose": carried out, and answered with 504."""
    refused: list[str] = field(factory=list[str])
    """The policies that calls were refused for."""
    _calls: deque[float] = field(factory=deque[float], init=False)
    _searches: deque[float] = field(factory=deque[float], init=False)
    _used: int = field(default=0, init=False)

    def answer(
        self, method: str, path: str, query: str, headers: Any, body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        """The answer to a request: status, body and headers."""
        asked = Asked(method, path, dict(parse_qsl(query)), body)
        self.requests.append(asked)
        try:
            status, content, more = self._decide(asked, str(headers.get("authorization", "")))
        except Refused as error:
            status, content, more = error.status, error.body, {}
        if not path.endswith("/search"):
            more = more | self._quota_headers()
        if not isinstance(content, bytes):
            more["content-type"] = "application/json;charset=utf-8"
            content = b"" if content is None else json.dumps(content).encode()
        return status, content, {**more, "date": formatdate(self.account.now // 1000, usegmt=True)}

    def _decide(self, asked: Asked, authorization: str) -> Answer:
        if asked.path == "/oauth/v1/token":
            return self._renew(asked)
        trouble = self.trouble.popleft() if self.trouble else ""
        if trouble == "477":
            return 477, {"status": "error", "message": "migration in progress"}, {"retry-after": "90"}
        if trouble == "423":
            raise Refused(423, "LOCKED", "The object is locked")
        if trouble == "429":
            self._refuse("TEN_SECONDLY_ROLLING")
        if trouble.isdecimal():
            return int(trouble), b"<html>trouble</html>", {"content-type": "text/html"}
        if authorization != f"Bearer {self.token}":
            raise Refused(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired")
        self._count(asked)
        answer = self._route(asked)
        return (504, b"<html>too late</html>", {"content-type": "text/html"}) if trouble == "lose" else answer

    def _count(self, asked: Asked) -> None:
        now = time.monotonic()
        policies = [("TEN_SECONDLY_ROLLING", self._calls, self.window, self.burst)]
        if asked.path.endswith("/search"):
            policies.append(("SECONDLY", self._searches, 1.0, self.searches))
        for policy, calls, window, most in policies:
            while calls and calls[0] <= now - window:
                calls.popleft()
            if len(calls) >= most:
                self._refuse(policy)
        if self._used >= self.daily:
            self._refuse("DAILY")
        for _, calls, _, _ in policies:
            calls.append(now)
        self._used += 1

    def _refuse(self, policy: str) -> None:
        self.refused.append(policy)
        message = f"You have reached your {policy.lower()} limit."
        raise Refused(429, "RATE_LIMITS", message, errorType="RATE_LIMIT", policyName=policy)

    def _quota_headers(self) -> dict[str, str]:
        return {
            "X-HubSpot-RateLimit-Daily": str(self.daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(self.daily - self._used),
            "X-HubSpot-RateLimit-Max": str(self.burst),
            "X-HubSpot-RateLimit-Remaining": str(max(0, self.burst - len(self._calls))),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(round(self.window * 1000)),
        }

    def _renew(self, asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != self.refresh_token:
            return 400, {"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"}, {}
        self.token = f"token-{secrets.token_hex(8)}"
        answer = {"access_token": self.token, "refresh_token": self.refresh_token, "expires_in": 1800}
        return 200, {**answer, "token_type": "bearer"}, {}

    def _route(self, asked: Asked) -> Answer:
        # Dated versions have other paths, and the same requests and answers.
        path = re.sub(r"^/crm/(objects|properties)/\d{4}-\d{2}/", r"/crm/v3/\1/", asked.path)
        parts = path.strip("/").split("/")
        if parts[:3] == ["crm", "v3", "properties"] and asked.method == "GET":
            return 200, {"results": [_described(*each) for each in self.account.schema(parts[3]).items()]}, {}
        if parts[:3] != ["crm", "v3", "objects"]:
            raise Refused(404, "NOT_FOUND", "resource not found")
        kind, rest = parts[3], parts[4:]
        match (asked.method, *rest):
            case ("GET",):
                return 200, self._listing(kind, asked.params), {}
            case ("POST",):
                row = self.account.create(kind, asked.json["properties"])
                return 201, self.account.shown(kind, row, (*DEFAULT, *asked.json["properties"])), {}
            case ("POST", "search"):
                return 200, search(self.account, kind, asked.body), {}
            case ("POST", "batch", action):
                return self._batch(kind, action, asked.json)
            case (method, identity):
                return self._one(kind, method, identity, asked)
            case _:
                raise Refused(405, "METHOD_NOT_ALLOWED", "not here")

    def _one(self, kind: str, method: str, identity: str, asked: Asked) -> Answer:
        row = self.account.live(kind, identity, asked.params.get("idProperty"))
        if method == "DELETE":
            if row is not None:
                self.account.archive(kind, row)
            return 204, None, {}
        if row is None:
            raise Refused(404, "OBJECT_NOT_FOUND", "resource not found")
        names = tuple(asked.params.get("properties", ",".join(DEFAULT)).split(","))
        if method == "PATCH":
            self.account.update(kind, row, asked.json["properties"])
            names = (*DEFAULT, *asked.json["properties"])
        return 200, self.account.shown(kind, row, names), {}

    def _listing(self, kind: str, params: dict[str, str]) -> Json:
        limit = int(params.get("limit", "10"))
        if not 1 <= limit <= MOST_INPUTS:
            raise Refused(400, "VALIDATION_ERROR", "limit must be from 1 to 100")
        archived = params.get("archived") == "true"
        rows = [row for row in self.account.rows_of(kind).values() if (row.archived_at is not None) is archived]
        rows = sorted((row for row in rows if row.id >= int(params.get("after", "0"))), key=lambda row: row.id)
        names = params.get("properties", ",".join(DEFAULT)).split(",")
        answer: Json = {"results": [self.account.shown(kind, row, names) for row in rows[:limit]]}
        if len(rows) > limit:
            answer["paging"] = {"next": {"after": str(rows[limit].id), "link": "https://api.hubapi.com/next"}}
        return answer

    def _batch(self, kind: str, action: str, body: Json) -> Answer:
        inputs: list[Json] = body["inputs"]
        if not 1 <= len(inputs) <= MOST_INPUTS:
            raise Refused(400, "VALIDATION_ERROR", "the number of inputs must be from 1 to 100")
        if action == "archive":
            for each in inputs:
                row = self.account.live(kind, each["id"])
                if row is not None:
                    self.account.archive(kind, row)
            return 204, None, {}
        names = [each.get("id") for each in inputs]
        if action == "update" and len(set(names)) < len(names):
            raise Refused(400, "VALIDATION_ERROR", "Duplicate IDs found in batch input")
        work = {"create": self._create, "read": self._read, "update": self._update, "upsert": self._upsert}[action]
        results, errors = work(kind, inputs, body)
        self.account.shuffle.shuffle(results)
        at = stamp(self.account.now)
        answer: Json = {"status": "COMPLETE", "results": results, "startedAt": at, "completedAt": at}
        if errors:
            return 207, answer | {"numErrors": len(errors), "errors": errors}, {}
        return 201 if action == "create" else 200, answer, {}

    def _create(self, kind: str, inputs: list[Json], _: Json) -> tuple[list[Json], list[Json]]:
        traces = [each.get("objectWriteTraceId") for each in inputs]
        is_partial = self.is_partial and None not in traces and len(set(traces)) == len(traces)
        if not is_partial:
            for each in inputs:
                self.account.check(kind, each["properties"])
        results, errors = list[Json](), list[Json]()
        for each in inputs:
            try:
                row = self.account.create(kind, each["properties"])
            except Refused as error:
                if not is_partial:
                    raise
                # The rows of a batch tell less than the answer to a single call: no list of errors.
                told = {name: error.body[name] for name in ("status", "category", "message")}
                errors.append(told | {"context": {"objectWriteTraceId": [each["objectWriteTraceId"]]}})
            else:
                results.append(self._result(kind, row, each))
        return results, errors

    def _read(self, kind: str, inputs: list[Json], body: Json) -> tuple[list[Json], list[Json]]:
        by = body.get("idProperty")
        found = {str(each["id"]): self.account.live(kind, str(each["id"]), by) for each in inputs}
        rows = {row.id: row for row in found.values() if row is not None}
        results = [self.account.shown(kind, row, body["properties"] or DEFAULT) for row in rows.values()]
        return results, _missing(kind, [name for name, row in found.items() if row is None])

    def _update(self, kind: str, inputs: list[Json], _: Json) -> tuple[list[Json], list[Json]]:
        for each in inputs:
            self.account.checked(kind, each["properties"])
        results, missing = list[Json](), list[str]()
        for each in inputs:
            row = self.account.live(kind, str(each["id"]), each.get("idProperty"))
            if row is None:
                missing.append(str(each["id"]))
            else:
                results.append(self._result(kind, self.account.update(kind, row, each["properties"]), each))
        return results, _missing(kind, missing)

    def _upsert(self, kind: str, inputs: list[Json], _: Json) -> tuple[list[Json], list[Json]]:
        for each in inputs:
            self.account.live(kind, each["id"], each.get("idProperty", ""))
            self.account.checked(kind, each["properties"])
        results = list[Json]()
        for each in inputs:
            row, sent = self.account.live(kind, each["id"], each["idProperty"]), each["properties"]
            is_new = row is None
            row = self.account.create(kind, sent) if row is None else self.account.update(kind, row, sent)
            results.append(self._result(kind, row, each) | {"new": is_new})
        return results, []

    def _result(self, kind: str, row: Row, asked: Json) -> Json:
        entry = self.account.shown(kind, row, asked["properties"])
        return entry | {"objectWriteTraceId": asked["objectWriteTraceId"]} if self.account.echo_traces else entry


def _missing(kind: str, ids: list[str]) -> list[Json]:
    if not ids:
        return []
    message = f"Could not get some {SINGULAR.get(kind, kind)} objects, they may be deleted or not exist."
    return [{"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": {"ids": ids}}]


def _described(name: str, described: Json) -> Json:
    options = [{"label": value, "value": value, "hidden": False} for value in described.get("options", [])]
    widgets = {"enumeration": "select", "datetime": "date"}
    return {
        "name": name,
        "label": name,
        "description": "",
        "groupName": "information",
        "type": described["type"],
        "fieldType": described.get("widget", widgets.get(described["type"], "text")),
        "options": options,
        "externalOptions": bool(described.get("external")),
        "hasUniqueValue": any(name in names for names in UNIQUE.values()),
        "archived": bool(described.get("archived")),
    }


class HubSpotServer:
    """A HubSpot that listens on a free port of 127.0.0.1 while its `with` block runs, in a thread of its own."""

    def __init__(self, hubspot: HubSpot | None = None) -> None:
        self.hubspot = hubspot or HubSpot()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        config = uvicorn.Config(
            self._app, interface="asgi3", log_level="error", access_log=False, lifespan="off", date_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="hubspot")

    @property
    def url(self) -> str:
        """The origin."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        request = HttpRequest(scope, receive)
        body = await request.body()
        status, content, headers = self.hubspot.answer(
            request.method, request.url.path, request.url.query, request.headers, body
        )
        await HttpResponse(content, status, headers)(scope, receive, send)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT
        while not self._server.started:
            if time.monotonic() > deadline:
                raise RuntimeError("the HubSpot of the tests does not serve")
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


def transport(hubspot: HubSpot) -> httpx.MockTransport:
    """A HubSpot without a socket."""

    async def respond(request: httpx.Request) -> httpx.Response:
        await anyio.lowlevel.checkpoint()
        status, content, headers = hubspot.answer(
            request.method, request.url.path, request.url.query.decode(), request.headers, await request.aread()
        )
        return httpx.Response(status, content=content, headers=headers)

    return httpx.MockTransport(respond)
