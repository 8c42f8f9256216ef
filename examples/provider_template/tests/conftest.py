"""Tickets in memory, behind a transport: in place of the provider's sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import anyio.lowlevel
import httpx
import pytest

START = datetime(2026, 1, 1, tzinfo=UTC)

Json = dict[str, Any]


class Tickets:
    """Keeps records, deleted ones too, and answers as the documentation of Tickets says."""

    def __init__(self) -> None:
        self._records: dict[str, Json] = {}
        self._versions = count(1)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request."""
        await anyio.lowlevel.checkpoint()
        _, _, *rest = request.url.path.strip("/").split("/")  # v1, tickets, and an id or "changes"
        if not rest:
            return self._list(request, "id", lambda row: not row["deleted"])
        if rest == ["changes"]:
            since = request.url.params.get("updated_since", "")
            return self._list(request, "updated_at", lambda row: row["updated_at"] >= since)
        return self._one(request, rest[0])

    def _list(self, request: httpx.Request, key: str, is_wanted: Callable[[Json], bool]) -> httpx.Response:
        asked = dict(request.url.params)
        start, size = asked.pop("cursor", ""), int(asked.pop("limit", "50"))
        asked.pop("updated_since", None)
        rows = sorted((row for row in self._records.values() if is_wanted(row)), key=lambda row: str(row[key]))
        rows = [row for row in rows if str(row[key]) > start and all(row.get(n) == v for n, v in asked.items())]
        more = len(rows) > size
        return httpx.Response(200, json={"data": rows[:size], "next_cursor": rows[size - 1][key] if more else None})

    def _one(self, request: httpx.Request, identity: str) -> httpx.Response:
        kept = self._records.get(identity, {"deleted": True})
        exists = not kept["deleted"]
        expected = request.headers.get("if-match", f'"{kept.get("version")}"')
        if (exists and "if-none-match" in request.headers) or expected != f'"{kept.get("version")}"':
            return httpx.Response(412, json={"message": "it is not as you think"})
        if not exists and request.method != "PUT":
            return httpx.Response(404, json={"message": "there is no such record"})
        if request.method != "GET":
            version = next(self._versions)
            marks = {"id": identity, "version": version, "deleted": request.method == "DELETE"}
            updated_at = (START + timedelta(milliseconds=version)).isoformat(timespec="milliseconds")
            fields = json.loads(request.content or b"{}")
            self._records[identity] = {**(kept if exists else {}), **fields, **marks, "updated_at": updated_at}
        return httpx.Response(200, json=self._records[identity])


@pytest.fixture
def tickets() -> httpx.AsyncBaseTransport:
    """Leads to a Tickets that is new and empty."""
    return httpx.MockTransport(Tickets().answer)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the tests."""
    return "asyncio"
