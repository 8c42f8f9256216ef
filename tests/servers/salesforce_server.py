"""A faithful Salesforce: sObjects, collections, composite requests, queries and tokens over HTTP.

    with SalesforceServer() as server:
        server.salesforce.org.seed("Contact", 3, LastName="Lovelace")
        httpx.get(server.url + "/services/data/v65.0/query?q=SELECT+Id+FROM+Contact", headers=...)

What it keeps is in `salesforce_org`, how it reads queries in `salesforce_soql`. `transport` answers without a socket.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio.lowlevel
import httpx
import jwt
import uvicorn
from attrs import define, field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from tests.servers.salesforce_org import REQUIRED, UNIQUE, Json, Org, Refused, Row, schema
from tests.servers.salesforce_soql import Query

MOST_RECORDS = 200
MOST_INNER = 25
LONGEST_URL = 16_384
START_TIMEOUT = 10.0
CLIENT_ID = "3MVG9connectedapp"
USER = "integration@acme.example"
AUDIENCE = "https://login.salesforce.com"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@define
class Asked:
    """A request as it came."""

    method: str
    path: str
    """As on the wire: percent-encoded."""
    params: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body) if self.body else None


Answer = tuple[int, Any]


@define
class Salesforce:
    """The API before an org."""

    org: Org = field(factory=Org)
    daily: int = 100_000
    used: int = 0
    """Calls of the last 24 hours."""
    page_max: int = 2_000
    """Rows on a page of a query; Salesforce makes it less where rows are wide."""
    token: str = "00D!session-1"
    refresh_token: str = "refresh-1"
    public_key: str | None = None
    """Of the connected app, in PEM: for assertions."""
    requests: list[Asked] = field(factory=list[Asked])
    trouble: deque[str] = field(factory=deque[str])
    """What goes wrong with the next calls: a status, "lose" (carried out, then a gateway's 504), "concurrent"."""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """The answer to a request: status, body and headers."""
        parts = urlsplit(target)
        asked = Asked(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), body)
        self.requests.append(asked)
        content: Any
        try:
            status, content = self._decide(asked, str(headers.get("authorization", "")))
        except Refused as error:
            status, content = error.status, error.whole
        more = {"sforce-limit-info": f"api-usage={self.used}/{self.daily}"}
        if content is not None and not isinstance(content, bytes):
            more["content-type"] = "application/json;charset=UTF-8"
            content = json.dumps(content).encode()
        return status, content or b"", {**more, "date": formatdate(self.org.now // 1000, usegmt=True)}

    def _decide(self, asked: Asked, authorization: str) -> Answer:
        if asked.path == "/services/oauth2/token":
            return self._issue(dict(parse_qsl(asked.body.decode())))
        if len(asked.path) + sum(map(len, asked.params.values())) > LONGEST_URL:
            raise Refused("URI_TOO_LONG", "URI too long", status=414)
        trouble = self.trouble.popleft() if self.trouble else ""
        if trouble == "503":
            raise Refused("SERVER_UNAVAILABLE", "Server Too Busy", status=503)
        if trouble == "concurrent":
            message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
            raise Refused("REQUEST_LIMIT_EXCEEDED", message, status=403)
        if trouble.isdecimal():
            return int(trouble), b"<html>trouble</html>"
        if authorization != f"Bearer {self.token}":
            raise Refused("INVALID_SESSION_ID", "Session expired or invalid", status=401)
        if self.used >= self.daily:
            raise Refused("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403)
        self.used += 1
        answer = self._route(asked)
        return (504, b"<html>too late</html>") if trouble == "lose" else answer

    def _issue(self, form: dict[str, str]) -> Answer:
        refused = 400, {"error": "invalid_grant", "error_description": "expired access/refresh token"}
        match form.get("grant_type"):
            case "refresh_token" if form.get("refresh_token") == self.refresh_token:
                pass
            case grant if grant == JWT_GRANT and self.public_key is not None:
                try:
                    claims = jwt.decode(form["assertion"], self.public_key, algorithms=["RS256"], audience=AUDIENCE)
                except jwt.InvalidTokenError:
                    return refused
                # An assertion may hold for three minutes.
                if (claims["iss"], claims["sub"]) != (CLIENT_ID, USER) or claims["exp"] > time.time() + 181:
                    return refused
            case _:
                return refused
        self.token = f"00D!{secrets.token_hex(8)}"
        answer = {"access_token": self.token, "instance_url": "https://acme.my.salesforce.com", "token_type": "Bearer"}
        return 200, answer | {"scope": "api refresh_token", "issued_at": str(self.org.now), "signature": "x"}

    def _route(self, asked: Asked) -> Answer:  # noqa: PLR0911  one for each resource
        parts = [unquote(part) for part in asked.path.strip("/").split("/")]
        if parts[:2] != ["services", "data"] or parts[2] != "v65.0":
            raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
        match (asked.method, *parts[3:]):
            case ("GET", "query" | "queryAll" as which):
                return 200, self._query(asked.params["q"], deleted=which == "queryAll")
            case ("GET", "sobjects", kind, "describe"):
                return 200, {"name": kind, "fields": [_described(kind, *each) for each in schema(kind).items()]}
            case ("POST", "sobjects", kind):
                return 201, {"id": self.org.create(kind, _object(asked.json)).id, "success": True, "errors": []}
            case (method, "sobjects", kind, identity):
                return self._one(method, kind, identity, asked)
            case (method, "sobjects", kind, name, value):
                return self._external(method, kind, name, value, asked)
            case ("POST", "composite"):
                return 200, self._composite(asked.json)
            case (method, "composite", "sobjects", *rest):
                return 200, self._collection(method, rest, asked)
            case _:
                raise Refused("METHOD_NOT_ALLOWED", f"HTTP Method '{asked.method}' not allowed", status=405)

    def _query(self, text: str, *, deleted: bool) -> Json:
        query = Query.read(text)
        rows = query.run(self.org, deleted=deleted)
        shown = [row.shown(query.fields) for row in rows[: self.page_max]]
        answer: Json = {"totalSize": len(rows), "done": len(rows) <= self.page_max, "records": shown}
        if not answer["done"]:
            answer["nextRecordsUrl"] = "/services/data/v65.0/query/01gD0000002HU6KIAW-2000"
        return answer

    def _one(self, method: str, kind: str, identity: str, asked: Asked) -> Answer:
        schema(kind)
        row = self.org.find(identity, kind)
        if row is None:
            was = self.org.rows.get(identity[:15])
            code = "ENTITY_IS_DELETED" if was is not None and was.is_deleted else "NOT_FOUND"
            raise Refused(code, "The requested resource does not exist", status=404)
        if method == "PATCH":
            self.org.update(kind, identity, _object(asked.json))
            return 204, None
        return 200, row.shown(self._names(kind, asked.params.get("fields")))

    def _external(self, method: str, kind: str, name: str, value: str, asked: Asked) -> Answer:
        if UNIQUE.get(kind) != name:
            raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
        rows = self.org.by_value(kind, name, value)
        if len(rows) > 1:
            return 300, [f"/services/data/v65.0/sobjects/{kind}/{row.id}" for row in rows]
        if method == "PATCH":
            sent = _object(asked.json)
            if name in sent:
                raise Refused("INVALID_FIELD", f"The {name} field should not be specified in the sobject data.", [name])
            row, created = self._upsert(kind, name, value, sent)
            return 201 if created else 200, {"id": row.id, "success": True, "errors": [], "created": created}
        if not rows or method != "GET":
            raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
        return 200, rows[0].shown()

    def _upsert(self, kind: str, name: str, value: Any, sent: Json) -> tuple[Row, bool]:
        rows = self.org.by_value(kind, name, value)
        if len(rows) > 1:
            raise Refused("DUPLICATE_EXTERNAL_ID", f"{name}: more than one record found for external id field")
        if rows:
            return self.org.update(kind, rows[0].id, sent), False
        return self.org.create(kind, {**sent, name: value}), True

    def _composite(self, body: Json) -> Json:
        inner: list[Json] = body["compositeRequest"]
        if not 1 <= len(inner) <= MOST_INNER or body["allOrNone"]:
            raise Refused("INVALID_INPUT", "limit of composite requests exceeded")
        answers: list[Json] = []
        for each in inner:
            parts = urlsplit(str(each["url"]))
            asked = Asked(each["method"], parts.path, dict(parse_qsl(parts.query)), b"")
            try:
                status, content = self._route(asked)
            except Refused as error:
                status, content = error.status, error.whole
            answers.append(
                {"body": content, "httpHeaders": {}, "httpStatusCode": status, "referenceId": each["referenceId"]}
            )
        return {"compositeResponse": answers}

    def _collection(self, method: str, rest: list[str], asked: Asked) -> list[Any]:
        if method == "DELETE":
            ids = _few(asked.params["ids"].split(","))
            return [_row(partial(self.org.delete, identity)) for identity in ids]
        if method == "POST" and rest:
            return self._fetch(rest[0], asked.json)
        records: list[Json] = _few(asked.json["records"])
        kinds = [record["attributes"]["type"] for record in records]
        for kind, record in zip(kinds, records, strict=True):
            if kind not in REQUIRED and kind not in UNIQUE:
                raise Refused("INVALID_TYPE", f"sObject type '{kind}' is not supported.")
            self.org.check_names(kind, record)
        if rest:
            (kind, name) = rest
            if UNIQUE.get(kind) != name or set(kinds) != {kind}:
                raise Refused("INVALID_FIELD", f"Field name provided, {name} does not match an External ID")
            return [self._upserted(kind, name, record) for record in records]
        if method == "POST":
            return [
                _row(partial(self.org.create, kind, _object(record)))
                for kind, record in zip(kinds, records, strict=True)
            ]
        return [
            _row(partial(self.org.update, kind, record["id"], _object(record)))
            for kind, record in zip(kinds, records, strict=True)
        ]

    def _upserted(self, kind: str, name: str, record: Json) -> Json:
        sent = _object(record)
        value = sent.pop(name)
        try:
            row, created = self._upsert(kind, name, value, sent)
        except Refused as error:
            return error.of_row
        return {"id": row.id, "success": True, "errors": [], "created": created}

    def _fetch(self, kind: str, body: Json) -> list[Any]:
        names = self._names(kind, ",".join(body["fields"]))
        rows = [self.org.find(identity, kind) for identity in body["ids"]]
        return [None if row is None else row.shown(names) for row in rows]

    def _names(self, kind: str, names: str | None) -> list[str] | None:
        if names is None:
            return None
        for name in names.split(","):
            if name not in schema(kind):
                raise Refused("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")
        return names.split(",")


def _few(records: list[Any]) -> list[Any]:
    if not 1 <= len(records) <= MOST_RECORDS:
        raise Refused("EXCEEDED_MAX_SIZE_REQUEST", "Maximum number of records is 200")
    return records


def _row(work: Callable[[], Row]) -> Json:
    try:
        return {"id": work().id, "success": True, "errors": []}
    except Refused as error:
        return error.of_row


def _object(body: Any) -> Json:
    """The fields of a record in a request."""
    return {name: value for name, value in body.items() if name not in {"attributes", "id"}}


def _described(kind: str, name: str, described: Json) -> Json:
    values = described.get("values", [])
    is_system = bool(described.get("system"))
    is_filled = is_system or described["type"] == "boolean" or bool(described.get("defaulted"))
    retired = [{"active": False, "value": "Retired"}] if values else []
    return {
        "name": name,
        "type": described["type"],
        "length": described.get("length", 0),
        "nillable": not is_filled and name not in REQUIRED.get(kind, ()),
        "createable": not is_system,
        "defaultedOnCreate": is_filled,
        "externalId": UNIQUE.get(kind) == name,
        "unique": UNIQUE.get(kind) == name,
        "restrictedPicklist": bool(described.get("restricted")),
        "picklistValues": [{"active": True, "value": value, "label": value} for value in values] + retired,
    }


class SalesforceServer:
    """A Salesforce that listens on a free port of 127.0.0.1 while its `with` block runs, in a thread of its own."""

    def __init__(self, salesforce: Salesforce | None = None) -> None:
        self.salesforce = salesforce or Salesforce()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        config = uvicorn.Config(
            self._app, interface="asgi3", log_level="error", access_log=False, lifespan="off", date_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="salesforce")

    @property
    def url(self) -> str:
        """The origin."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        request = HttpRequest(scope, receive)
        body = await request.body()
        target = scope["raw_path"].decode() + (f"?{request.url.query}" if request.url.query else "")
        status, content, headers = self.salesforce.answer(request.method, target, request.headers, body)
        await HttpResponse(content, status, headers)(scope, receive, send)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT
        while not self._server.started:
            if time.monotonic() > deadline:
                raise RuntimeError("the Salesforce of the tests does not serve")
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


def transport(salesforce: Salesforce) -> httpx.MockTransport:
    """A Salesforce without a socket."""

    async def respond(request: httpx.Request) -> httpx.Response:
        await anyio.lowlevel.checkpoint()
        target = request.url.raw_path.decode()
        status, content, headers = salesforce.answer(request.method, target, request.headers, await request.aread())
        return httpx.Response(status, content=content, headers=headers)

    return httpx.MockTransport(respond)
