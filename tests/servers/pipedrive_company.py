"""A company's account at Pipedrive, as the fake of it keeps it: records, tokens, quotas, a clock and a search index."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from attrs import define, field, frozen

from tests.servers.pipedrive_rules import (
    COSTS,
    OLD,
    Invalid,
    Row,
    check_body,
    check_query,
    has_term,
    read_cursor,
    write_cursor,
)

MONTH = 30 * 86_400.0
CLOUDFLARE = "<!DOCTYPE html><title>Access denied</title><p>This error is produced by Cloudflare.</p>"


@frozen
class Asked:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Told:
    """An answer."""

    status: int
    body: str
    headers: dict[str, str]


@define
class Company:
    """Answers requests by Pipedrive's rules. All may be changed by a test at any moment."""

    api_token: str = "a user's api token"
    access: set[str] = field(factory=set[str])
    """Access tokens that are good now."""
    refresh: str = "the-refresh-token"
    clock: Callable[[], float] = time.time
    """Its instants are shown in whole seconds."""
    custom: set[str] = field(factory=set[str])
    """Keys of the account's own fields."""
    fields: list[Row] = field(factory=list[Row])
    """What ``personFields`` and its like tell."""
    burst: int = 1_000_000
    """Requests in any 2 seconds, searches apart."""
    search_burst: int = 10
    tokens: int = 10_000_000
    """Left of the day's."""
    is_polite: bool = True
    """It tells of its quotas in headers."""
    patience: int = 1_000
    """Refusals until Cloudflare blocks."""
    search_lag: float = 0.0
    scopes: set[str] = field(factory=lambda: {"persons", "organizations", "deals", "leads", "notes"})
    shows_deleted: bool = True
    """A deleted record can still be read by its id."""
    open_deals_limit: int = 1_000_000
    before: deque[Told | None] = field(factory=deque[Told | None])
    """What the next requests are answered with instead; None: nothing else."""
    after: deque[Told | None] = field(factory=deque[Told | None])
    """What the next requests are answered with after they were carried out."""
    asked: list[Asked] = field(factory=list[Asked])
    rows: dict[str, dict[Any, Row]] = field(factory=lambda: {kind: {} for kind in (*_KINDS,)})
    deleted_at: dict[tuple[str, Any], float] = field(factory=dict[tuple[str, Any], float])
    indexed_at: dict[tuple[str, Any], float] = field(factory=dict[tuple[str, Any], float])
    _times: list[float] = field(factory=list[float])
    _searches: list[float] = field(factory=list[float])
    _refusals: int = 0
    _last_id: int = 0

    def answer(self, asked: Asked) -> Told:
        """Answer a request."""
        self.asked.append(asked)
        instead = self.before.popleft() if self.before else None
        if instead is not None:
            return instead
        if asked.path == "/oauth/token":
            return self._token(asked)
        told = self._refusal(asked) or self._carried_out(asked)
        return (self.after.popleft() if self.after else None) or told

    def add(self, kind: str, fields: Row) -> Row:
        """Make a record."""
        self._last_id += 1
        identity = str(uuid4()) if kind == "leads" else self._last_id
        now = self._stamp(kind)
        row: Row = {"id": identity, "add_time": now, "update_time": now, "is_deleted": False, "owner_id": 1}
        if kind not in OLD:
            row["custom_fields"] = {}
        if kind == "persons":
            row |= {"emails": [], "phones": [], "org_id": None}
        if kind == "deals":
            row |= {"status": "open", "currency": "EUR", "value": 0, "is_archived": False}
        self.rows[kind][identity] = row
        self.change(kind, identity, fields)
        return row

    def change(self, kind: str, identity: Any, fields: Row) -> Row:
        """Change a record."""
        row = self.rows[kind][identity]
        custom: Row = {**row.get("custom_fields", {}), **(fields.get("custom_fields") or {})}
        row |= fields | {"update_time": self._stamp(kind)}
        if kind not in OLD:
            row["custom_fields"] = custom
        if kind == "persons" and "name" in fields:
            first, _, last = fields["name"].rpartition(" ")
            row |= {"first_name": first or last, "last_name": last if first else None}
        self.indexed_at[kind, identity] = self.clock() + self.search_lag
        return row

    def delete(self, kind: str, identity: Any) -> None:
        """Mark a record as deleted."""
        row = self.rows[kind][identity]
        row |= {"is_deleted": True, "update_time": self._stamp(kind)}
        if kind == "deals":
            row["status"] = "deleted"
        self.deleted_at[kind, identity] = self.clock()

    def held(self, kind: str) -> dict[str, Row]:
        """The records that are there, by id."""
        return {str(identity): row for identity, row in self.rows[kind].items() if not row["is_deleted"]}

    def delivery(self, action: str, kind: str, identity: Any) -> Row:
        """What a webhook of version 2 sends."""
        data = None if action == "delete" else self.rows[kind][identity]
        entity = kind.removesuffix("s")
        meta = {
            "action": action,
            "entity": entity,
            "company_id": "8087566",
            "entity_id": str(identity),
            "id": str(uuid4()),
            "timestamp": "2026-11-24T13:18:56.089Z",
            "version": "2.0",
            "attempt": 1,
        }
        return {"meta": meta, "data": data, "previous": None}

    def _refusal(self, asked: Asked) -> Told | None:
        """Whether the request may be made at all."""
        sent = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if asked.headers.get("x-api-token") != self.api_token and sent not in self.access:
            return self.failure(401, "unauthorized access")
        now, cost = self.clock(), self._cost(asked)
        times, most = self._window(asked)
        times[:] = [at for at in times if at > now - 2]
        if len(times) < most and cost <= self.tokens:
            times.append(now)
            self.tokens -= cost
            self._refusals = 0
            return None
        self._refusals += 1
        if self._refusals > self.patience:
            return Told(403, CLOUDFLARE, {"content-type": "text/html"})
        return self.failure(429, "request over limit")

    def _window(self, asked: Asked) -> tuple[list[float], int]:
        """The instants of the requests of the last 2 seconds, and how many there may be."""
        if asked.path.endswith("/search"):
            return self._searches, self.search_burst
        return self._times, self.burst

    def _cost(self, asked: Asked) -> int:
        parts = asked.path.strip("/").split("/")
        factor = 2 if parts[1] == "v1" else 1
        if parts[-1] in {"search", "archived"}:
            return 20 * factor
        return COSTS[asked.method][0 if len(parts) == 4 else 1] * factor

    def _carried_out(self, asked: Asked) -> Told:
        _, version, kind, *rest = asked.path.strip("/").split("/")
        if kind.endswith("Fields"):
            return self.success(self.fields, {"next_cursor": None})
        if kind not in self.rows or (version == "v1") != (kind in OLD):
            return self.failure(404, "Unknown method.")
        if kind not in self.scopes:
            return self.failure(403, "Scope and URL mismatch")
        try:
            if asked.method == "GET" and rest in ([], ["search"], ["archived"]):
                return self._listing(kind, rest, asked.query)
            return self._record(asked, kind, rest[0] if rest else None)
        except Invalid as error:
            return self.failure(400, str(error), code="ERR_SCHEMA_VALIDATION_FAILED")

    def _record(self, asked: Asked, kind: str, text: str | None) -> Told:
        if asked.method == "POST":
            fields = check_body(kind, asked.json(), self.custom, is_new=True)
            if kind == "deals" and len(self.held("deals")) >= self.open_deals_limit:
                message = "Couldn't add the deal. Open deals limit reached."
                return self.failure(403, message, code="feature_capping_deals_limit")
            return self.success(self.add(kind, fields), status=201)
        identity = text if kind == "leads" else int(text or "0")
        row = self.rows[kind].get(identity)
        if row is None or (row["is_deleted"] and not (asked.method == "GET" and self.shows_deleted)):
            return self.failure(404, f"{kind.removesuffix('s').capitalize()} not found")
        if asked.method == "DELETE":
            self.delete(kind, identity)
            return self.success({"id": identity})
        if asked.method in {"PATCH", "PUT"}:
            fields = check_body(kind, asked.json(), self.custom, is_new=False)
            if row.get("is_archived") and fields.get("is_archived") is not False:
                raise Invalid("Archived items are not editable")
            row = self.change(kind, identity, fields)
        return self.success(row)

    def _listing(self, kind: str, rest: list[str], query: dict[str, str]) -> Told:
        check_query(kind, query, is_search=rest == ["search"])
        if rest == ["search"]:
            return self._search(kind, query)
        rows = self._shown(kind, query, is_archive=rest == ["archived"])
        size = int(query.get("limit", "100"))
        if kind in OLD:
            start = int(query.get("start", "0"))
            paging = {"start": start, "limit": size, "more_items_in_collection": start + size < len(rows)}
            return self.success(rows[start : start + size] or None, {"pagination": paging})
        by, direction = query.get("sort_by", "id"), query.get("sort_direction", "asc")
        rows.sort(key=lambda row: (row[by], row["id"]), reverse=direction == "desc")
        if "cursor" in query:
            behind = read_cursor(query["cursor"], by, direction)
            rows = [
                row
                for row in rows
                if ((row[by], row["id"]) > behind if direction == "asc" else (row[by], row["id"]) < behind)
            ]
        more = write_cursor(rows[size - 1], by, direction) if len(rows) > size else None
        return self.success(rows[:size], {"next_cursor": more})

    def _shown(self, kind: str, query: dict[str, str], *, is_archive: bool) -> list[Row]:
        of_deleted = query.get("status") == "deleted"
        ids = query["ids"].split(",") if "ids" in query else None
        since = query.get("updated_since", "")
        return [
            row
            for identity, row in self.rows[kind].items()
            if row["is_deleted"] == of_deleted
            and (of_deleted or bool(row.get("is_archived")) == is_archive)
            and (ids is None or str(identity) in ids)
            and row["update_time"] >= since
            and (not of_deleted or self.deleted_at[kind, identity] > self.clock() - MONTH)
        ]

    def _search(self, kind: str, query: dict[str, str]) -> Told:
        now = self.clock()
        found = [
            row
            for identity, row in self.rows[kind].items()
            if not row["is_deleted"] and self.indexed_at[kind, identity] <= now and has_term(row, kind, query)
        ]
        size = int(query.get("limit", "100"))
        hits = [{"result_score": 1.0, "item": {"id": row["id"], "type": kind.removesuffix("s")}} for row in found]
        more = write_cursor(found[size - 1], "id", "asc") if len(found) > size else None
        return self.success({"items": hits[:size]}, {"next_cursor": more})

    def _token(self, asked: Asked) -> Told:
        form = dict(parse_qsl(asked.body.decode()))
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != self.refresh:
            body = {"success": False, "error": "invalid_grant", "message": "Invalid grant: refresh_token is invalid"}
            return self._told(400, body)
        token = uuid4().hex
        self.access.add(token)
        body = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": self.refresh,
            "scope": "base contacts:full deals:full",
            "api_domain": "https://acme.pipedrive.com",
        }
        return self._told(200, body)

    def _stamp(self, kind: str) -> str:
        instant = datetime.fromtimestamp(int(self.clock()), UTC)
        return f"{instant:%Y-%m-%d %H:%M:%S}" if kind in OLD else f"{instant:%Y-%m-%dT%H:%M:%SZ}"

    def success(self, data: Any, more: Row | None = None, *, status: int = 200) -> Told:
        body = {"success": True, "data": data}
        return self._told(status, body if more is None else {**body, "additional_data": more})

    def failure(self, status: int, error: str, *, code: str | None = None) -> Told:
        body: Row = {"success": False, "error": error, "error_info": "Please check developers.pipedrive.com"}
        body |= {"data": None, "additional_data": None}
        return self._told(status, body if code is None else {**body, "code": code})

    def _told(self, status: int, body: Row) -> Told:
        date = formatdate(int(self.clock()), usegmt=True)  # cut off, as in the records
        headers = {"content-type": "application/json; charset=utf-8", "date": date}
        if self.is_polite and self.asked:
            times, most = self._window(self.asked[-1])
            headers |= {
                "x-ratelimit-limit": str(most),
                "x-ratelimit-remaining": str(max(most - len(times), 0)),
                "x-ratelimit-reset": "2",
                "x-daily-ratelimit-token-limit": "30000",
                "x-daily-ratelimit-token-remaining": str(self.tokens),
            }
        return Told(status, json.dumps(body), headers)


_KINDS: Iterable[str] = ("persons", "organizations", "deals", "leads", "notes")
