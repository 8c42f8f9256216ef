"""Adapters before a provider that repeats a credential wherever an adapter looks for a reason, a code or a name."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import httpx
from attrs import define, evolve, field
from typing_extensions import override

from ratesync import Batch, Kind, Operation
from ratesync.errors import RateSyncError
from ratesync.http import Account, Bearer
from ratesync.providers import RestProvider
from ratesync.providers.feed import Feed
from ratesync.providers.hubspot import HubSpotProvider
from ratesync.providers.kinto import KintoProvider
from ratesync.providers.listing import Listing, equal_to
from ratesync.providers.pipedrive import PipedriveProvider, token_account
from ratesync.providers.resource import Resource
from ratesync.providers.row_batch import RowBatch
from ratesync.providers.salesforce import SalesforceProvider
from tests.providers.salesforce.world import CONTACTS
from tests.secrecy.canary import told_by

URL = "https://acme.example"
ROWS = 207
"""Stands for an answer to a batch that is a success, with a failure in each of its rows."""
LOST = 0
"""Stands for an answer that does not come, and an exception that repeats the request."""
HTML = 1
"""Stands for a success that is a page, which repeats the request."""


@define
class Echo(httpx.AsyncBaseTransport):
    """Answers everything with a failure that repeats what it is told to."""

    status: int = 400
    word: str = ""
    sent: list[str] = field(factory=list[str])
    """What was asked, with all headers."""

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        self.sent.append(f"{request.url} {dict(request.headers)} {content!r}")
        if self.status == LOST:
            raise httpx.ReadTimeout(self.sent[-1], request=request)
        if self.status == HTML:
            return httpx.Response(200, text=f"<html>{self.sent[-1]}</html>")
        if self.status == ROWS:
            told = self._rows(request, json.loads(content) if content else {})
            if told is not None:
                return httpx.Response(207 if "crm" in request.url.path else 200, json=told)
        return httpx.Response(400 if self.status == ROWS else self.status, json=self._failure(request))

    def _failure(self, request: httpx.Request) -> Any:
        if "/services/data/" in request.url.path:
            return [self._error()]
        return {**self._error(), "success": False, "errors": [self._error()]}

    def _error(self) -> dict[str, Any]:
        word, told = self.word, f"no {self.word}!"
        return {
            "message": told,
            "error": told,
            "detail": told,
            "title": told,
            "category": word,
            "code": word,
            "errorCode": word,
            "statusCode": word,
            "fields": [word],
            "in": word,
            "policyName": word,
            "context": {"propertyName": [word]},
            "errors": [{"code": word, "in": word, "message": told, "context": {"propertyName": [word]}}],
        }

    def _rows(self, request: httpx.Request, body: dict[str, Any]) -> Any:
        """The answer to a batch; None if it is no batch.

        The first operation's failure is one that may pass, as all others would be tried apart if all were refused.
        """
        path = request.url.path
        if path.endswith("/composite"):
            first, *more = [
                {**each, "httpStatusCode": 400, "body": [self._error()]} for each in body["compositeRequest"]
            ]
            return {"compositeResponse": [{**first, "httpStatusCode": 503}, *more]}
        if "/composite/" in path:
            ids = parse_qs(request.url.query.decode()).get("ids", [""])[0].split(",")
            rows = body.get("records") or body.get("ids") or ids
            first, *more = [{"success": False, "errors": [self._error()]} for _ in rows]
            return [{**first, "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW"}]}, *more]
        if path.startswith("/crm") and "/batch/" in path:
            first, *more = [
                {"context": {"ids": [each.get("id")], "objectWriteTraceId": [each.get("objectWriteTraceId")]}}
                for each in body["inputs"]
            ]
            return {
                "results": [],
                "errors": [{"category": "LOCKED", **first}, *({**self._error(), **each} for each in more)],
            }
        if path.endswith("/batch"):
            rows = [{"path": each["path"], "status": 400, "body": self._error()} for each in body["requests"]]
            return {"responses": rows}
        if path.endswith("/bulk"):
            return {"results": [{**self._error(), "id": each["id"], "status": 400} for each in body["rows"]]}
        return None


def salesforce(secret: str, key: str, transport: Echo) -> Any:
    objects = {"contacts": CONTACTS}
    return SalesforceProvider(account(secret), name="acme", objects=objects, lag=0, **common(key, transport))


def hubspot(secret: str, key: str, transport: Echo) -> Any:
    return HubSpotProvider(account(secret), name="acme", lag=0, **common(key, transport))


def pipedrive(secret: str, key: str, transport: Echo) -> Any:
    marks = {"persons": "mark", "organizations": "mark", "deals": "mark"}
    one = token_account(secret, "acme")
    return PipedriveProvider(one, name="acme", identity_fields=marks, lag=0, **common(key, transport))


def kinto(secret: str, key: str, transport: Echo) -> Any:
    return KintoProvider(f"{URL}/v1", account(secret), bucket="b", name="acme", **common(key, transport))


def rest(secret: str, key: str, transport: Echo) -> Any:
    return _rest(secret, key, transport, Resource(listing=Listing(query=equal_to), changes=Feed()))


def rows(secret: str, key: str, transport: Echo) -> Any:
    bulk = {Kind.UPDATE: RowBatch(path="/bulk", status_name="status")}
    return _rest(secret, key, transport, Resource(create=None, read=None, delete=None, bulk=bulk))


def _rest(secret: str, key: str, transport: Echo, shape: Resource) -> Any:
    credentials = {"default": {"Authorization": f"Token {secret}"}}
    return RestProvider("acme", URL, resources=shape, credentials=credentials, **common(key, transport))


def account(secret: str) -> Account:
    return Account(Bearer(secret), base_url=URL)


def common(key: str, transport: Echo) -> dict[str, Any]:
    return {"headers": {"X-Key": key}, "transport": transport}


ADAPTERS: dict[str, Callable[[str, str, Echo], Any]] = {
    "salesforce": salesforce,
    "hubspot": hubspot,
    "pipedrive": pipedrive,
    "kinto": kinto,
    "rest": rest,
    "rows": rows,
}
RESOURCES = {"pipedrive": "persons"}
FIELDS: dict[str, dict[str, Any]] = {
    "salesforce": {"LastName": "L", "Customer_No__c": "C-1"},
    "hubspot": {"properties": {"email": "ada@example.org"}},
}
IDS = ("003000000000001AAA", "003000000000002AAA")
NUMBERS = ("1", "2")
VALUES = ("Customer_No__c/C-1", "Customer_No__c/C-2")
"""Records of Salesforce named by a value, which are read in a request of requests."""


def batches(name: str) -> Iterator[Batch]:
    """One operation and two of every kind."""
    ids = IDS if name == "salesforce" else NUMBERS
    for kind in (Kind.UPDATE, Kind.CREATE, Kind.DELETE, Kind.READ):
        for most in (1, 2):
            operations = [operation(name, kind, record_id) for record_id in ids[:most]]
            yield Batch(operations[0].lane, operations[0].resource, kind, tuple(operations))
    if name == "salesforce":
        by_value = [operation(name, Kind.READ, value) for value in VALUES]
        yield Batch(by_value[0].lane, by_value[0].resource, Kind.READ, tuple(by_value))


def operation(name: str, kind: Kind, record_id: str) -> Operation:
    return Operation(
        provider="acme",
        resource=RESOURCES.get(name, "contacts"),
        kind=kind,
        record_id=None if kind is Kind.CREATE and name != "kinto" else record_id,
        fields=FIELDS.get(name, {"email": "ada@example.org"}) if kind in {Kind.CREATE, Kind.UPDATE} else {},
        id=f"op-{record_id}",
        idempotency_key=f"op-{record_id}",
    )


def operations(name: str, kinds: Iterable[Kind]) -> list[Operation]:
    """Two updates and a create, as far as the adapter takes them."""
    updates = [operation(name, Kind.UPDATE, record_id) for record_id in (IDS if name == "salesforce" else NUMBERS)]
    create = evolve(operation(name, Kind.CREATE, "3"), id="op-new", idempotency_key="op-new")
    return [*updates, create] if Kind.CREATE in set(kinds) else updates


async def said(name: str, provider: Any) -> AsyncIterator[str]:
    """What an adapter says of everything that it can be asked for."""
    resource = RESOURCES.get(name, "contacts")
    path = "properties.email" if name == "hubspot" else "LastName" if name == "salesforce" else "id"
    asked: list[Callable[[], Awaitable[object]]] = [
        *((lambda batch=batch: provider.execute(batch)) for batch in batches(name)),
        lambda: provider.pull_changes("default", resource, None, limit=5),
        lambda: provider.list_records("default", resource, None, limit=5),
        lambda: provider.find("default", resource, path, ["1"]),
    ]
    if hasattr(provider, "lookup"):
        asked.append(lambda: provider.lookup(operation(name, Kind.CREATE, "1")))
    if hasattr(provider, "describe"):
        asked.append(lambda: provider.describe("default", resource))
    for ask in asked:
        try:
            yield repr(await ask())
        except RateSyncError as error:
            for text in told_by(error):
                yield text


@asynccontextmanager
async def adapter(name: str, secret: str, key: str) -> AsyncGenerator[tuple[Any, Echo]]:
    """An adapter that authenticates with two credentials, and its provider."""
    echo = Echo()
    async with ADAPTERS[name](secret, key, echo) as provider:
        yield provider, echo
