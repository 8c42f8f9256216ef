"""A dry run shows what would be sent, and sends nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Never

import anyio
import httpx
import pytest
from attrs import define, evolve, field, frozen
from typing_extensions import override

from ratesync import Applied, Batch, Capabilities, Operation, Outcome, Settings, SyncEngine
from ratesync.engine.recorder import records_requests
from ratesync.errors import ConfigurationError, NotSent, Unavailable
from ratesync.http import (
    Account,
    AccountCallers,
    ApiKey,
    Basic,
    Bearer,
    Chain,
    ClientCredentials,
    HmacSigned,
    HttpCaller,
    OAuth2,
    OnlyAt,
    QueryKey,
    TokenEndpoint,
    TokenKeeper,
)
from ratesync.mapping import Field
from ratesync.mapping import Mapping as Lens
from ratesync.mapping.codecs import email, text
from ratesync.memory import MemoryBackend
from ratesync.model.preview import Preview, PreviewedRequest, Problem
from ratesync.protocols import PreviewsRequests, RecordsRequests
from ratesync.protocols.preview import recording
from ratesync.providers import RestProvider
from ratesync.providers.hubspot import HubSpotProvider
from ratesync.providers.kinto import KintoProvider
from ratesync.providers.pipedrive import PipedriveProvider
from ratesync.providers.salesforce import OBJECTS, SalesforceProvider
from ratesync.testing.fake_provider import FakeProvider

pytestmark = pytest.mark.anyio

URL = "https://api.acme.example/v1"
CANARY = "canary-0123456789"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Untouchable(httpx.AsyncBaseTransport):
    """A transport that no dry run may touch."""

    touched = 0

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.touched += 1
        raise AssertionError("a dry run has sent something")


@pytest.fixture
def transport() -> Iterator[Untouchable]:
    transport = Untouchable()
    yield transport
    assert not transport.touched


@define
class Batching:
    """An adapter that takes three operations in a call, in the way that authors write them."""

    caller: HttpCaller
    name: str = "acme"
    capabilities: Capabilities = field(factory=lambda: Capabilities(batch_max=3))

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        inputs = [{"id": operation.record_id, **operation.fields} for operation in batch.operations]
        response = await self.caller.send("POST", f"/{batch.resource}/batch/{batch.kind}", json={"inputs": inputs})
        return {row["id"]: Applied() for row in response.json()}


def engine_of(provider: Any, **options: Any) -> SyncEngine:
    return SyncEngine(backend=MemoryBackend(), providers=[provider], **options)


def batching(transport: httpx.AsyncBaseTransport, auth: httpx.Auth | None = None) -> Batching:
    return Batching(HttpCaller(URL, transport=transport, auth=auth))


def update(record_id: str, **fields: Any) -> Operation:
    return Operation.update("acme", "contacts", record_id, fields)


async def test_the_request_is_shown_and_not_sent(transport: Untouchable) -> None:
    operation = update("1", email="ada@example.org")
    (preview,) = await engine_of(batching(transport, Bearer(CANARY))).preview(operation)
    assert preview.operations == (operation,)
    assert preview.problems == ()
    (request,) = preview.requests
    assert (request.method, request.url) == ("POST", f"{URL}/contacts/batch/update")
    assert request.body == {"inputs": [{"id": "1", "email": "ada@example.org"}]}
    assert request.headers["authorization"] == "***"
    assert request.headers["content-type"] == "application/json"
    assert request.auth == "Bearer"


async def test_it_works_while_the_engine_works_and_leaves_no_trace(transport: Untouchable) -> None:
    events: list[object] = []
    async with engine_of(batching(transport), observers=[events.append]) as engine:
        assert await engine.preview([update("1", n=1), update("2", n=2)])
        assert (await engine.stats()).pending == 0
    assert events == []


async def test_operations_are_folded_and_sorted_into_calls(transport: Untouchable) -> None:
    operations = [
        *(update(str(number), n=number) for number in range(4)),
        update("0", m=1),
        Operation.read("acme", "contacts", "0"),
        Operation.create("acme", "contacts", {"n": 9}, record_id="9"),
        Operation.delete("acme", "contacts", "9"),
    ]
    previews = await engine_of(batching(transport)).preview(operations)
    shown = [
        (len(preview.operations), *(request.url[len(URL) :] for request in preview.requests)) for preview in previews
    ]
    assert shown == [
        (2,),  # a create and its delete cancel out
        (4, "/contacts/batch/update"),
        (1, "/contacts/batch/update"),
        (1, "/contacts/batch/read"),
    ]
    first = previews[1].requests[0].body["inputs"]
    assert first[0] == {"id": "0", "n": 0, "m": 1}
    assert [row["id"] for row in first] == ["0", "1", "2"]


async def test_calls_are_made_by_connection(transport: Untouchable) -> None:
    accounts = AccountCallers(lambda name: Account(ApiKey(CANARY), f"https://{name}.example"), transport=transport)

    @define
    class ByAccount:
        callers: AccountCallers = accounts
        name: str = "acme"
        capabilities: Capabilities = field(factory=lambda: Capabilities(batch_max=3))

        async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
            await self.callers.caller(batch.connection).send("POST", "/x", json=[])
            return {}

    operations = [Operation.update("acme", "a", str(n), {}, connection=f"c{n % 2}") for n in range(4)]
    previews = await engine_of(ByAccount()).preview(operations)
    assert [(preview.requests[0].url, len(preview.operations)) for preview in previews] == [
        ("https://c0.example/x", 2),
        ("https://c1.example/x", 2),
    ]


async def test_an_adapter_that_makes_a_call_for_each_operation_shows_its_own(transport: Untouchable) -> None:
    provider = RestProvider("acme", URL, transport=transport, credentials={"default": {"X-Token": CANARY}})
    previews = await engine_of(provider).preview([update("a b", n=1), Operation.delete("acme", "contacts", "2")])
    requests = [request for preview in previews for request in preview.requests]
    assert [(request.method, request.url) for request in requests] == [
        ("PATCH", f"{URL}/contacts/a%20b"),
        ("DELETE", f"{URL}/contacts/2"),
    ]
    assert [request.body for request in requests] == [{"n": 1}, None]
    assert all(request.headers["x-token"] == "***" for request in requests)


Maker = Callable[[Account, httpx.AsyncBaseTransport], Any]


def salesforce(account: Account, wire: httpx.AsyncBaseTransport) -> SalesforceProvider:
    contacts = evolve(OBJECTS["contacts"], external_id="No__c")
    return SalesforceProvider(account, base_url="https://a.example", objects={"contacts": contacts}, transport=wire)


SHIPPED: dict[str, Maker] = {
    "hubspot": lambda account, wire: HubSpotProvider(account, transport=wire),
    "pipedrive": lambda account, wire: PipedriveProvider(account, transport=wire),
    "salesforce": salesforce,
    "kinto": lambda account, wire: KintoProvider(URL, account, bucket="crm", transport=wire),
}
SF = "/services/data/v65.0"
DELETED = [
    ("hubspot", "contacts", "7", "/crm/v3/objects/contacts/7"),
    ("pipedrive", "persons", "7", "/api/v2/persons/7"),
    ("salesforce", "contacts", "003000000000001AAA", f"{SF}/composite/sobjects"),
    ("kinto", "contacts", "7", "/v1/batch"),
]
READ = [
    ("hubspot", "contacts", ["7", "8"], ["/crm/v3/objects/contacts/batch/read"]),
    (
        "hubspot",
        "contacts",
        ["7", "ada@example.org"],
        ["/crm/v3/objects/contacts/7", "/crm/v3/objects/contacts/batch/read"],
    ),
    ("pipedrive", "persons", list("12345"), [f"/api/v2/persons/{number}" for number in range(1, 6)]),
    ("pipedrive", "persons", [str(number) for number in range(1, 20)], ["/api/v2/persons"]),
    ("salesforce", "contacts", ["003000000000001AAA", "003000000000002AAA"], [f"{SF}/composite/sobjects/Contact"]),
    (
        "salesforce",
        "contacts",
        ["003000000000001AAA", "No__c/1", "No__c/2"],
        [f"{SF}/sobjects/Contact/003000000000001AAA", f"{SF}/composite"],
    ),
    ("kinto", "contacts", list("123"), ["/v1/batch"]),
]


@pytest.mark.parametrize(("name", "resource", "record_id", "path"), DELETED)
async def test_adapters_over_callers_need_nothing_for_it(
    name: str, resource: str, record_id: str, path: str, transport: Untouchable
) -> None:
    adapter = SHIPPED[name](Account(Bearer(CANARY)), transport)
    (preview,) = await engine_of(adapter).preview(Operation.delete(adapter.name, resource, record_id))
    assert preview.problems == ()
    (request,) = preview.requests
    assert httpx.URL(request.url).path == path
    assert request.headers["authorization"] == "***"
    assert CANARY not in f"{preview}{request.body}"


@pytest.mark.parametrize(("name", "resource", "record_ids", "paths"), READ)
async def test_adapters_show_all_requests_of_a_call(
    name: str, resource: str, record_ids: Sequence[str], paths: Sequence[str], transport: Untouchable
) -> None:
    adapter = SHIPPED[name](Account(Bearer(CANARY)), transport)
    reads = [Operation.read(adapter.name, resource, record_id) for record_id in record_ids]
    (preview,) = await engine_of(adapter).preview(reads)
    assert preview.problems == ()
    assert [httpx.URL(request.url).path for request in preview.requests] == paths
    assert all(request.headers["authorization"] == "***" for request in preview.requests)


class Strange(httpx.Auth):
    """Asks for a token on its way, which no dry run may do."""

    @override
    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        raise AssertionError("an authentication was run")
        yield request


def oauth(transport: httpx.AsyncBaseTransport) -> OAuth2:
    endpoint = TokenEndpoint("https://id.example/token", client_id="c", client_secret=CANARY, transport=transport)
    return OAuth2(TokenKeeper(grant=ClientCredentials(), endpoint=endpoint))


AUTHS: list[tuple[Callable[[httpx.AsyncBaseTransport], httpx.Auth], Mapping[str, str], str]] = [
    (lambda _: ApiKey(CANARY), {"x-api-key": "***"}, ""),
    (lambda _: ApiKey(CANARY, header="X-Acme"), {"x-acme": "***"}, ""),
    (lambda _: Basic("ada", CANARY), {"authorization": "***"}, ""),
    (lambda _: QueryKey(CANARY), {}, "?api_key=***"),
    (lambda _: QueryKey(CANARY, param="me"), {}, "?me=***"),
    (lambda _: HmacSigned(CANARY), {"x-signature": "***", "x-timestamp": "***"}, ""),
    (oauth, {"authorization": "***"}, ""),
    (lambda given: Chain(oauth(given), QueryKey(CANARY)), {"authorization": "***"}, "?api_key=***"),
    (lambda _: OnlyAt(URL, Bearer(CANARY)), {"authorization": "***"}, ""),
    (lambda _: httpx.BasicAuth("ada", CANARY), {}, ""),
    (lambda _: Strange(), {}, ""),
]


@pytest.mark.parametrize(("make", "headers", "query"), AUTHS)
async def test_no_authentication_is_run_and_no_credential_shown(
    make: Callable[[httpx.AsyncBaseTransport], httpx.Auth],
    headers: Mapping[str, str],
    query: str,
    transport: Untouchable,
) -> None:
    auth = make(transport)
    (preview,) = await engine_of(batching(transport, auth)).preview(update("1", n=1))
    (request,) = preview.requests
    assert request.auth == type(auth).__name__
    assert request.url == f"{URL}/contacts/batch/update{query}"
    usual = {"accept", "accept-encoding", "content-type", "user-agent"}
    assert {name: value for name, value in request.headers.items() if name not in usual} == headers
    assert CANARY not in f"{preview}{request.headers}{request.body}"


@define
class Given:
    """Makes the call that it is given."""

    send: Callable[[HttpCaller], Awaitable[object]]
    caller: HttpCaller
    name: str = "acme"
    capabilities: Capabilities = field(factory=Capabilities)

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        await self.send(self.caller)
        return {operation.id or "": Applied() for operation in batch.operations}


async def shown(transport: Untouchable, send: Callable[[HttpCaller], Awaitable[object]]) -> PreviewedRequest:
    caller = HttpCaller(URL, transport=transport, headers={"X-Shared-Key": CANARY})
    (preview,) = await engine_of(Given(send, caller)).preview(update("1"))
    (request,) = preview.requests
    return request


async def test_what_looks_like_a_credential_is_masked_wherever_it_stands(transport: Untouchable) -> None:
    request = await shown(
        transport,
        lambda caller: caller.send(
            "POST", f"/{CANARY}/x", params={"access_token": CANARY, "limit": "5"}, json={"a": f"see {CANARY}", "b": "é"}
        ),
    )
    assert request.url == f"{URL}/***/x?access_token=***&limit=5"
    assert request.body == {"a": "see ***", "b": "é"}
    assert request.headers["x-shared-key"] == "***"


async def test_bodies_that_are_no_json_are_named_only(transport: Untouchable) -> None:
    form = b"client_secret=" + CANARY.encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert (await shown(transport, lambda caller: caller.send("POST", "/x", content=form, headers=headers))).body == (
        f"<{len(form)} bytes of application/x-www-form-urlencoded>"
    )
    broken = await shown(
        transport,
        lambda caller: caller.send("POST", "/x", content=b"{", headers={"content-type": "application/json"}),
    )
    assert broken.body == "<1 bytes of application/json>"
    assert (await shown(transport, lambda caller: caller.send("PUT", "/x", content=b"ab"))).body == (
        "<2 bytes of unknown type>"
    )


async def test_every_mistake_is_told_and_the_rest_shown(transport: Untouchable) -> None:
    lens = Lens(Field("email", "properties.email", email()), Field("name", "properties.name", text(), required=True))
    wrong = Operation.create("acme", "contacts", {"email": "nobody", "age": 5})
    previews = await engine_of(batching(transport), transformers={("acme", "contacts"): lens}).preview(
        [wrong, update("1", email="ada@example.org"), Operation.read("globex", "a", "1"), update("", n=1)]
    )
    assert [len(preview.requests) for preview in previews] == [0, 0, 0, 1]
    assert [(problem.path, problem.code) for problem in previews[0].problems] == [
        ("operations[0].fields.age", "unknown_field"),
        ("operations[0].fields.email", "invalid"),
        ("operations[0].fields.name", "required"),
    ]
    assert "nobody" not in str(previews[0].problems)
    assert [problem.code for problem in previews[1].problems] == ["UnknownProvider"]
    assert [problem.path for problem in previews[2].problems] == ["operations[3].record_id"]
    assert previews[3].requests[0].body == {"inputs": [{"id": "1", "properties": {"email": "ada@example.org"}}]}


@frozen
class Broken:
    """A transformer that raises, whatever it is asked."""

    def to_external(self, fields: Mapping[str, Any], kind: object) -> Never:
        raise KeyError(CANARY)

    def to_local(self, fields: Mapping[str, Any]) -> Never:
        raise KeyError(CANARY)


async def test_a_transformer_that_raises_is_told_without_what_it_says(transport: Untouchable) -> None:
    (preview,) = await engine_of(
        batching(transport), transformers={("acme", "contacts"): Broken()}, settings=Settings()
    ).preview(update("1", n=1))
    assert preview.problems == (Problem("operation.fields", "transform", "the transformer raised KeyError"),)


async def test_what_an_adapter_refuses_before_it_calls_is_told(transport: Untouchable) -> None:
    provider = RestProvider("acme", URL, transport=transport, credentials={"berlin": {"X-Token": CANARY}})
    (preview,) = await engine_of(provider).preview(update("1", n=1))
    assert preview.requests == ()
    assert preview.problems == (
        Problem("operation", "RetryLater", "there are no credentials for connection 'default'"),
    )

    async def fail(_: HttpCaller) -> Never:
        raise ValueError(CANARY)

    async def refuse(_: HttpCaller) -> Never:
        raise Unavailable("not now")

    for act, code, message in (
        (fail, "adapter", "the adapter raised ValueError"),
        (refuse, "Unavailable", "not now"),
    ):
        given = Given(act, HttpCaller(URL, transport=transport))
        (preview,) = await engine_of(given).preview(update("1"))
        assert preview.problems == (Problem("operation", code, message),)


async def test_an_adapter_that_does_not_end_is_broken_off(transport: Untouchable) -> None:
    provider = Given(lambda _: anyio.sleep_forever(), HttpCaller(URL, transport=transport))
    (preview,) = await engine_of(provider, settings=Settings(call_timeout=0.01)).preview(update("1"))
    assert [problem.code for problem in preview.problems] == ["timeout"]


async def test_an_adapter_that_calls_by_other_means_is_never_run(transport: Untouchable) -> None:
    class Raw:
        """Has a caller, and a client beside it."""

        name = "acme"
        capabilities = Capabilities()

        def __init__(self) -> None:
            self.caller = HttpCaller(URL, transport=transport)
            self.client = httpx.AsyncClient(transport=transport)

        async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
            raise AssertionError("it was run")

    for provider in (Raw(), FakeProvider("acme")):
        with pytest.raises(ConfigurationError, match=r"provider 'acme' cannot show its requests.*HttpCaller"):
            await engine_of(provider).preview(update("1"))
        assert getattr(provider, "calls", 0) == 0


async def test_an_adapter_may_show_requests_by_itself() -> None:
    class Own(FakeProvider):
        async def preview(self, batch: Batch) -> Sequence[PreviewedRequest]:
            if batch.resource == "gone":
                raise NotSent("no schema yet")
            return [PreviewedRequest("CALL", f"acme:{batch.resource}", {})]

    provider = Own("acme")
    assert isinstance(provider, PreviewsRequests)
    previews = await engine_of(provider).preview([update("1"), Operation.read("acme", "gone", "1")])
    assert [preview.requests for preview in previews] == [(PreviewedRequest("CALL", "acme:contacts", {}),), ()]
    assert previews[1].problems == (Problem("operation", "NotSent", "no schema yet"),)
    assert provider.calls == 0


async def test_callers_note_what_is_called_in_tasks_that_are_started(transport: Untouchable) -> None:
    caller = HttpCaller(URL, transport=transport)

    async def call(target: str) -> None:
        with pytest.raises(NotSent, match="dry run"):
            await caller.send("GET", target)

    with recording() as requests:
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(call, f"/{number}")
    assert sorted(request.url for request in requests) == [f"{URL}/{number}" for number in range(3)]


async def test_a_caller_sends_nothing_in_a_dry_run_whichever_way_it_is_asked(transport: Untouchable) -> None:
    caller = HttpCaller(URL, transport=transport)
    with recording() as requests, pytest.raises(NotSent, match="dry run"):
        await caller._call("GET", URL, {}, None)  # pyright: ignore[reportPrivateUsage]
    assert requests == []


def test_who_holds_a_caller_is_known(transport: Untouchable) -> None:
    caller = HttpCaller(URL, transport=transport)
    assert isinstance(caller, RecordsRequests)
    assert records_requests(batching(transport))
    assert records_requests(RestProvider("acme", URL, transport=transport))

    class Named:
        def __init__(self, callers: object) -> None:
            self.callers = callers

    class Slotted:
        __slots__ = ("__caller",)

        def __init__(self) -> None:
            self.__caller = caller

        def use(self) -> HttpCaller:
            return self.__caller

    assert records_requests(Named({"eu": caller}))
    assert records_requests(Named([caller]))
    assert records_requests(Slotted())
    assert not records_requests(Named({"eu": 5}))
    assert not records_requests(object())


def test_a_preview_is_a_value() -> None:
    assert Preview(()) == Preview((), (), ())
