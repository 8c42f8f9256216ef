"""Adapters before a provider that repeats a credential wherever an adapter looks for a reason, a code or a name."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import httpx
from attrs import define, field
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
from tests.servers import hubspot_server, pipedrive_server, salesforce_server
from tests.servers.hubspot_server import HubSpot
from tests.servers.pipedrive_company import Company
from tests.servers.salesforce_server import Salesforce

URL = "https://acme.example"
ROWS = 207
"""Stands for an answer to a batch that is a success, with a failure in each of its rows."""


@define
class Echo(httpx.AsyncBaseTransport):
    """Answers descriptions of records truly, and all else with a failure that repeats what it is told to."""

    truth: httpx.MockTransport
    status: int = 400
    word: str = ""
    sent: list[str] = field(factory=list[str])
    """What was asked, with all headers."""

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        path = request.url.path
        if any(word in path for word in ("describe", "properties", "Fields")):
            return await self.truth.handle_async_request(request)
        self.sent.append(f"{request.url} {dict(request.headers)} {content!r}")
        if self.status == ROWS:
            told = self._rows(request, json.loads(content) if content else {})
            if told is not None:
                return httpx.Response(207 if "crm" in path else 200, json=told)
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


def nobody(_: httpx.Request) -> httpx.Response:
    return httpx.Response(404)


def salesforce(secret: str, key: str) -> tuple[Any, Echo]:
    server = Salesforce(token=secret)
    echo = Echo(salesforce_server.transport(server))
    objects = {"contacts": CONTACTS}
    return SalesforceProvider(account(secret), objects=objects, headers={"X-Key": key}, transport=echo), echo


def hubspot(secret: str, key: str) -> tuple[Any, Echo]:
    echo = Echo(hubspot_server.transport(HubSpot(token=secret)))
    return HubSpotProvider(account(secret), headers={"X-Key": key}, transport=echo), echo


def pipedrive(secret: str, key: str) -> tuple[Any, Echo]:
    company = Company(api_token=secret)
    echo = Echo(pipedrive_server.transport(company))
    return PipedriveProvider(token_account(secret, "acme"), headers={"X-Key": key}, transport=echo), echo


def kinto(secret: str, key: str) -> tuple[Any, Echo]:
    echo = Echo(httpx.MockTransport(nobody))
    return KintoProvider(f"{URL}/v1", account(secret), bucket="b", headers={"X-Key": key}, transport=echo), echo


def rest(secret: str, key: str) -> tuple[Any, Echo]:
    return _rest(secret, key, Resource(listing=Listing(query=equal_to), changes=Feed()))


def rows(secret: str, key: str) -> tuple[Any, Echo]:
    bulk = {Kind.UPDATE: RowBatch(path="/bulk", status_name="status")}
    return _rest(secret, key, Resource(create=None, read=None, delete=None, bulk=bulk))


def _rest(secret: str, key: str, shape: Resource) -> tuple[Any, Echo]:
    echo = Echo(httpx.MockTransport(nobody))
    made = RestProvider(
        "acme",
        URL,
        resources=shape,
        credentials={"default": {"Authorization": f"Token {secret}"}},
        headers={"X-Key": key},
        transport=echo,
    )
    return made, echo


def account(secret: str) -> Account:
    return Account(Bearer(secret), base_url=URL)


ADAPTERS: dict[str, Callable[[str, str], tuple[Any, Echo]]] = {
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
    if hasattr(provider, "look_up"):
        asked.append(lambda: provider.look_up(operation(name, Kind.CREATE, "1")))
    for ask in asked:
        try:
            yield repr(await ask())
        except RateSyncError as error:
            for text in told_by(error):
                yield text


@asynccontextmanager
async def adapter(name: str, secret: str, key: str) -> AsyncGenerator[tuple[Any, Echo]]:
    """An adapter that authenticates with two credentials, and its provider."""
    provider, echo = ADAPTERS[name](secret, key)
    async with provider:
        yield provider, echo
