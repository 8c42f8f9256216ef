"""A REST API in memory, behind a transport: records with ids of the client's choice, pages, a feed, search, a batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote

import anyio.lowlevel
import httpx
from attrs import define, field

Json = dict[str, Any]

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


SCHEMA = {"required": ["email"], "properties": {"email": {"type": "string"}, "age": {"type": "integer"}}}


def one_second_each_third(writes: int) -> int:
    """Seconds after `START` of a write: three writes share each second."""
    return writes // 3


@define
class RestApi:
    """`GET /v2/things?after=ID&size=N` lists, `GET /v2/things/changed?since=...` tells changes, oldest first.

    `POST /v2/things` makes a record under an id of the API's, `GET /v2/schemas/things` tells the fields.

    `POST /v2/$batch` takes `{"requests": [{"id", "method", "url", "headers", "body"}]}`; it answers in reverse order.
    """

    second_of: Callable[[int], int] = one_second_each_third
    cap: int = 100
    """Most rows on a page."""
    tells_time: bool = True
    """Whether answers have a Date."""
    records: dict[str, Json] = field(factory=dict[str, Json], init=False)
    calls: list[str] = field(factory=list[str], init=False)
    _writes: count[int] = field(factory=lambda: count(1), init=False)
    now: datetime = field(default=START, init=False)

    @property
    def transport(self) -> httpx.MockTransport:
        """Leads here, whatever the host."""

        async def answer(request: httpx.Request) -> httpx.Response:
            await anyio.lowlevel.checkpoint()
            return self.answer(request)

        return httpx.MockTransport(answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request over HTTP."""
        self.calls.append(f"{request.method} {request.url.path}")
        body: Any = json.loads(request.content) if request.content else None
        if request.url.path == "/v2/$batch":
            rows = [self._row(row) for row in reversed(body["requests"])]
            return self._sent(200, {"responses": rows}, {})
        headers = {name.lower(): value for name, value in request.headers.items()}
        return self._sent(*self._single(request.method, request.url.raw_path.decode(), headers, body))

    def _sent(self, status: int, body: Json | None, headers: Json) -> httpx.Response:
        if self.tells_time:
            headers["date"] = format_datetime(self.now, usegmt=True)
        return httpx.Response(status, headers=headers, json=body) if body is not None else httpx.Response(status)

    def _row(self, row: Json) -> Json:
        headers = {name.lower(): value for name, value in row.get("headers", {}).items()}
        status, body, told = self._single(row["method"], f"/v2{row['url']}", headers, row.get("body"))
        answer = {"id": row["id"], "status": status, "headers": told}
        return answer if body is None else answer | {"body": body}

    def _single(self, method: str, target: str, headers: Json, body: Json | None) -> tuple[int, Json | None, Json]:
        path, _, query = target.partition("?")
        asked = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if path == "/v2/things" and method == "POST":
            record_id = f"n{len(self.records) + 1}"
            self._write(record_id, body or {}, is_deleted=False)
            return 201, self.records[record_id], {}
        if path == "/v2/things":
            return (200, self._listed(asked), {}) if method == "GET" else (405, None, {})
        if path == "/v2/schemas/things":
            return 200, {"data": {"schema": SCHEMA}}, {}
        if path == "/v2/things/changed":
            return 200, self._changed(asked), {}
        return self._one(unquote(path.removeprefix("/v2/things/")), method, headers, body)

    def _one(self, record_id: str, method: str, headers: Json, body: Json | None) -> tuple[int, Json | None, Json]:
        known = self.records.get(record_id)
        known = None if known is None or known["is_deleted"] else known
        version = None if known is None else f'"{known["revision"]}"'
        if headers.get("if-none-match") == "*" and known is not None:
            return 412, {"current": known}, {}
        if "if-match" in headers and headers["if-match"] != version:
            return 412, None if known is None else {"current": known}, {}
        if method != "PUT" and known is None:
            return 404, {"error": "there is no such thing"}, {}
        if method == "GET":
            return 200, known, {}
        kept = {} if method == "PUT" else known or {}
        self._write(record_id, {**kept, **(body or {})}, is_deleted=method == "DELETE")
        return 200, self.records[record_id], {}

    def _write(self, record_id: str, fields: Json, *, is_deleted: bool) -> None:
        number = next(self._writes)
        self.now = START + timedelta(seconds=self.second_of(number))
        marks = {"id": record_id, "revision": number, "updated": self.now.isoformat(), "is_deleted": is_deleted}
        self.records[record_id] = {**fields, **marks}

    def _listed(self, asked: Json) -> Json:
        rows = [row for row in self.records.values() if not row["is_deleted"] and self._has(row, asked)]
        rows = sorted((row for row in rows if row["id"] > asked.get("after", "")), key=lambda row: row["id"])
        return self._page(rows, asked, lambda row: str(row["id"]))

    def _has(self, row: Json, asked: Json) -> bool:
        wanted = {name: value for name, value in asked.items() if name not in {"after", "size"}}
        return all(row.get(name) == value for name, value in wanted.items())

    def _changed(self, asked: Json) -> Json:
        since = datetime.fromisoformat(asked.get("since", START.isoformat()))
        rows = [row for row in self.records.values() if datetime.fromisoformat(row["updated"]) >= since]
        rows.sort(key=_place)
        behind = asked.get("after", "")
        return self._page([row for row in rows if _place(row) > behind], asked, _place)

    def _page(self, rows: list[Json], asked: Json, place: Callable[[Json], str]) -> Json:
        size = min(int(asked.get("size", "100")), self.cap)
        page = rows[:size]
        return {"rows": page, "next": place(page[-1]) if len(rows) > size else None}


def _place(row: Json) -> str:
    """Where a record stands in the feed."""
    return f"{row['updated']} {row['id']}"
