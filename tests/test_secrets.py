"""No credential shows: a marked one of every kind goes through success and every failure, and is looked for everywhere.

How :class:`~ratesync.model.secret.Secret` itself keeps still is told by ``tests/model/test_secret.py``.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import ssl
from base64 import b64encode, urlsafe_b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import httpx
import psycopg
import psycopg.errors
import pytest
import sqlalchemy
from anyio.to_thread import run_sync
from attrs import define, field
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import override

from ratesync import Applied, Batch, Capabilities, Operation, Outcome, Secret, SyncEngine
from ratesync.errors import ConfigurationError, NotSent, RateSyncError
from ratesync.http import (
    Account,
    AccountCallers,
    ApiKey,
    Basic,
    Bearer,
    Chain,
    ClientCredentials,
    FernetCipher,
    HmacSignature,
    HmacSigned,
    HttpCaller,
    HubSpotV3,
    JwtBearer,
    LocalVault,
    NextLink,
    OAuth2,
    OnlyAt,
    Pages,
    QueryKey,
    RefreshToken,
    StandardWebhooks,
    StateVault,
    StripeSignature,
    TokenEndpoint,
    TokenKeeper,
    Tokens,
    WebhookVerifier,
    read_outcome,
)
from ratesync.http.client_callers import ClientCallers
from ratesync.http.log_filter import LOGGERS
from ratesync.http.response import Response
from ratesync.memory import MemoryBackend, MemoryStateStore
from ratesync.postgres import PostgresStateStore
from ratesync.protocols.preview import recording
from ratesync.providers import RestProvider, Route
from ratesync.providers.hubspot import HubSpotProvider
from ratesync.providers.pipedrive import PipedriveProvider, PipedriveTokens, WebhookReader, token_account
from ratesync.providers.salesforce import SalesforceProvider
from ratesync.redis import RedisBackend
from ratesync.redis.queue.pulse import Pulse
from ratesync.redis.server.address import Address
from ratesync.sql import Outbox, SqlRecords
from tests.secrecy import canary
from tests.secrecy.canary import mark, told_by
from tests.secrecy.engine import said_by_engine
from tests.secrecy.walk import CLIENTS, shown_by_logs

URL = "https://api.acme.example/v1"

KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
FERNET = Fernet.generate_key().decode()
RAW = urlsafe_b64decode(FERNET)[4:14]
PIECES = (KEY.splitlines()[1][8:40], FERNET[4:30], RAW.decode("latin-1"), repr(RAW)[2:-1])
"""Of keys that cannot be marked."""


def leaks_in(text: str) -> list[str]:
    return canary.leaks_in(text) + [piece for piece in PIECES if piece in text]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    for logger in LOGGERS:
        monkeypatch.setattr(logging.getLogger(logger), "filters", [])  # those that other tests have asked for
    caplog.set_level(logging.DEBUG)
    for name in ("ratesync", "httpx", "httpcore", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


# What is shown of objects that hold a credential.


def endpoint(transport: httpx.AsyncBaseTransport | None = None, **options: Any) -> TokenEndpoint:
    given: dict[str, Any] = {"client_id": "c", "client_secret": mark("client-secret")}
    return TokenEndpoint("https://id.example/token", transport=transport, **(given | options))


def tokens() -> Tokens:
    return Tokens(access=Secret(mark("access")), refresh=Secret(mark("refresh")), generation=1)


def keeper(transport: httpx.AsyncBaseTransport | None = None) -> TokenKeeper:
    return TokenKeeper(grant=RefreshToken(more={"x": mark("more")}), endpoint=endpoint(transport))


def jwt() -> JwtBearer:
    return JwtBearer(key=Secret(KEY), issuer="i", audience="a", algorithm="ES256", claims={"c": mark("claim")})


def answering(status: int = 200) -> httpx.AsyncBaseTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, json={}))


HOLDERS: dict[str, Callable[[], object]] = {
    "Secret": lambda: Secret(mark("secret")),
    "ApiKey": lambda: ApiKey(mark("key")),
    "Bearer": lambda: Bearer(mark("bearer")),
    "Basic": lambda: Basic("ada", mark("password")),
    "QueryKey": lambda: QueryKey(mark("key")),
    "HmacSigned": lambda: HmacSigned(mark("hmac")),
    "OAuth2": lambda: OAuth2(keeper()),
    "Chain": lambda: Chain(Bearer(mark("bearer")), QueryKey(mark("key"))),
    "OnlyAt": lambda: OnlyAt(URL, Bearer(mark("bearer"))),
    "TokenEndpoint": endpoint,
    "TokenKeeper": keeper,
    "RefreshToken": lambda: RefreshToken(more={"x": mark("more")}),
    "ClientCredentials": lambda: ClientCredentials(more={"x": mark("more")}),
    "JwtBearer": lambda: attrs.evolve(jwt(), claims={}),
    "JwtBearer of text": lambda: JwtBearer(key=KEY, issuer="i", audience="a"),
    "Tokens": tokens,
    "Tokens of texts": lambda: Tokens(access=mark("access"), refresh=mark("refresh")),
    "LocalVault": LocalVault,
    "StateVault": lambda: StateVault(MemoryStateStore(), "acme", cipher=None),
    "FernetCipher": lambda: FernetCipher(FERNET),
    "Account": lambda: Account(Bearer(mark("bearer"))),
    "Account of httpx's": lambda: Account(httpx.BasicAuth("ada", mark("password"))),
    "Chain of httpx's": lambda: Chain(httpx.BasicAuth("ada", mark("password"))),
    "OnlyAt of httpx's": lambda: OnlyAt(URL, httpx.BasicAuth("ada", mark("password"))),
    "ClientCallers": lambda: ClientCallers(
        Account(Bearer(mark("bearer"))), client=httpx.AsyncClient(base_url=URL), headers={"X-Key": mark("key")}
    ),
    "Pages": lambda: Pages(HttpCaller(URL), "/x", NextLink(), headers={"X-Key": mark("key")}),
    "Route": lambda: Route("GET", "/x/{record_id}", {"X-Key": mark("key")}),
    "Response": lambda: Response(200, secrets=(Secret(mark("key")),)),
    "WebhookReader": lambda: WebhookReader("ada", mark("password")),
    "PipedriveTokens": lambda: PipedriveTokens("c", mark("secret")),
    "pipedrive": lambda: PipedriveProvider(token_account(mark("token"), "acme"), headers={"X-Key": mark("key")}),
    "salesforce": lambda: SalesforceProvider(Account(Bearer(mark("token")), URL), headers={"X-Key": mark("key")}),
    "hubspot": lambda: HubSpotProvider({"a": Account(Bearer(mark("token")))}, headers={"X-Key": mark("key")}),
    "PostgresStateStore": lambda: PostgresStateStore.from_url(f"postgresql://ada:{mark('pg')}@127.0.0.1:1/db"),
    "Address": lambda: Address.parse(f"redis+sentinel://a:{mark('redis')}@h/s?sentinel_password={mark('other')}"),
    "AccountCallers": lambda: AccountCallers(
        {"default": Account(Bearer(mark("bearer")))}, URL, headers={"X-Key": mark("key")}
    ),
    "HttpCaller": lambda: HttpCaller(URL, headers={"X-Key": mark("key")}, auth=Bearer(mark("bearer"))),
    "RestProvider": lambda: RestProvider(
        "acme", URL, headers={"X-Key": mark("key")}, credentials={"default": {"X-Token": mark("token")}}
    ),
    "StandardWebhooks": lambda: StandardWebhooks(b64encode(mark("webhook").encode()).decode()),
    "StripeSignature": lambda: StripeSignature(mark("webhook")),
    "HubSpotV3": lambda: HubSpotV3(mark("webhook")),
    "HmacSignature": lambda: HmacSignature(secrets=mark("webhook")),
    "WebhookVerifier": lambda: WebhookVerifier(HmacSignature(secrets=mark("webhook"))),
    "RedisBackend": lambda: RedisBackend.from_url(f"redis://ada:{mark('redis')}@127.0.0.1:1/0"),
    "RedisBackend.queue": lambda: RedisBackend.from_url(f"redis://:{mark('redis')}@127.0.0.1:1").queue,
    "RedisBackend.limiter": lambda: RedisBackend.from_url(f"redis://:{mark('redis')}@127.0.0.1:1").limiter,
    "SyncEngine": lambda: SyncEngine(
        backend=MemoryBackend(),
        providers=[RestProvider("acme", URL, credentials={"default": {"X-Token": mark("token")}})],
    ),
}


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
def test_who_holds_a_credential_shows_nothing_of_it(make: Callable[[], object]) -> None:
    holder = make()
    shown = canary.told_of(holder)
    shown += str(logging.LogRecord("x", 10, "x", 1, "%s %r", (holder, holder), None).getMessage())
    assert not leaks_in(shown)
    with suppress(Exception):
        assert not leaks_in(canary.told_of(copy.copy(holder)))
    with suppress(Exception):
        assert not leaks_in(canary.told_of(copy.deepcopy(holder)))


def pickled(secret: Secret, _: object) -> tuple[type[str], tuple[str]]:
    return str, (secret.reveal(),)


BUGS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "headers are kept as they are": ("ratesync.http.caller.kept_headers", dict, "HttpCaller"),
    "credentials are": ("ratesync.providers.rest.kept_credentials", dict, "RestProvider"),
    "passwords are": ("ratesync.redis.server.address.Secret", str, "Address"),
    "secrets are printed": ("ratesync.model.secret.Secret.__repr__", Secret.reveal, "StripeSignature"),
    "secrets are pickled": ("ratesync.model.secret.Secret.__reduce_ex__", pickled, "Tokens"),
    "accounts are pickled": ("ratesync.model.secret.Sealed.__reduce_ex__", object.__reduce_ex__, "Account of httpx's"),
}
"""Each breaks one thing that keeps a credential hidden: where, by what, and who shows it then."""


@pytest.mark.parametrize("name", BUGS)
def test_what_would_be_shown_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, bug, holder = BUGS[name]
    monkeypatch.setattr(place, bug)
    assert leaks_in(canary.told_of(HOLDERS[holder]()))


# What comes out of an engine, whatever the provider does.


def repeated(request: httpx.Request) -> str:
    """All that a provider could repeat of what it was sent."""
    return f"you sent {dict(request.headers)} to {request.url} with {request.content!r}"


@define
class Rude(httpx.AsyncBaseTransport):
    """A provider and a token endpoint with every bad habit, and it repeats what it is sent."""

    habit: str
    requests: int = 0
    asked: list[str] = field(factory=list[str])

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        self.asked.append(f"{request.url} {dict(request.headers)} {request.content!r}")
        if request.url.host == "id.example":
            return self._token(request)
        match self.habit:
            case "ok" | "tokens refused" | "tokens are no JSON":
                return httpx.Response(200, json={"id": "1"}, headers={"etag": '"1"'})
            case "no JSON":
                return httpx.Response(200, text=f"<html>{repeated(request)}</html>")
            case "redirect":
                return httpx.Response(307, headers={"location": f"https://evil.example/{request.url.raw_path!r}"})
            case "redirect within":
                return httpx.Response(302, headers={"location": f"{URL}/other?{request.url.query.decode()}"})
            case "timeout":
                raise httpx.ReadTimeout(repeated(request), request=request)
            case "tls":
                raise httpx.ConnectError(repeated(request), request=request) from ssl.SSLCertVerificationError(
                    repeated(request)
                )
            case "broken":
                raise RuntimeError(repeated(request))
            case status:
                told = repeated(request)
                return httpx.Response(int(status), json={"message": told, "code": "x"}, headers={"x-echo": "1"})

    def _token(self, request: httpx.Request) -> httpx.Response:
        if self.habit == "tokens refused":
            return httpx.Response(400, json={"error": "invalid_grant", "error_description": repeated(request)})
        if self.habit == "tokens are no JSON":
            return httpx.Response(200, text=repeated(request))
        given = {"access_token": mark("access"), "refresh_token": mark("refresh"), "token_type": "Bearer"}
        return httpx.Response(200, json=given | {"expires_in": 3600})


UPDATES = [Operation.update("acme", "contacts", str(number), {"n": number}) for number in range(2)]
HABITS = (
    *("ok", "no JSON", "redirect", "redirect within", "timeout", "tls", "broken", "400", "401", "403", "404", "409"),
    *("412", "422", "429", "500", "503"),
)
FEW_HABITS = ("ok", "redirect within", "timeout", "broken", "400")
"""For each way to authenticate; what else may happen does not depend on it."""
HABITS_OF_TOKENS = ("tokens refused", "tokens are no JSON")


def habits_of(name: str) -> tuple[str, ...]:
    if name == "bearer":
        return HABITS
    return (*FEW_HABITS, *(HABITS_OF_TOKENS if name in {"oauth", "refresh"} else ()))


def oauth(transport: httpx.AsyncBaseTransport) -> OAuth2:
    return OAuth2(
        TokenKeeper(grant=jwt(), endpoint=endpoint(transport, in_body=True)),
    )


AUTHS: dict[str, Callable[[httpx.AsyncBaseTransport], httpx.Auth]] = {
    "key": lambda _: ApiKey(mark("key"), header="X-Acme"),
    "query": lambda _: QueryKey(mark("key")),
    "bearer": lambda _: Bearer(mark("bearer")),
    "basic": lambda _: Basic("ada", mark("password")),
    "hmac": lambda _: Chain(HmacSigned(mark("hmac")), ApiKey(mark("key"))),
    "oauth": oauth,
    "refresh": lambda transport: OAuth2(with_tokens(transport)),
}


def with_tokens(transport: httpx.AsyncBaseTransport) -> TokenKeeper:
    kept = TokenKeeper(grant=RefreshToken(), endpoint=endpoint(transport))

    @define
    class Filled(LocalVault):
        """Holds tokens whose access token has run out."""

    vault = Filled()
    vault._held = attrs.evolve(vault._held, tokens=attrs.evolve(tokens(), expires_at=1.0), revision=1)  # pyright: ignore[reportPrivateUsage]
    kept.vault = vault
    return kept


@define
class Adapter:
    """An adapter as authors write them."""

    caller: HttpCaller
    name: str = "acme"
    capabilities: Capabilities = field(factory=lambda: Capabilities(batch_max=5))

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        response = await self.caller.send(
            "POST", f"/{batch.resource}", json=[dict(each.fields) for each in batch.operations]
        )
        outcome = read_outcome(response, batch.kind, now=0.0)
        if isinstance(outcome, Applied):
            response.json()
        return {operation.id or "": outcome for operation in batch.operations}


@pytest.mark.anyio
@pytest.mark.parametrize("name", AUTHS)
async def test_nothing_of_a_credential_is_said_whatever_the_provider_does(
    name: str, log: pytest.LogCaptureFixture
) -> None:
    for habit in habits_of(name):
        transport = Rude(habit)
        adapter = Adapter(HttpCaller(URL, transport=transport, auth=AUTHS[name](transport)))
        said = await said_by_engine(adapter, UPDATES)
        assert transport.requests, f"{habit}: nothing was sent"
        assert any(leaks_in(text) for text in transport.asked), f"{habit}: no credential was sent"
        assert len(said) > 5
        for text in said:
            assert not leaks_in(text), f"{habit}: {text}"
        assert not leaks_in(log.text), habit
        for record in log.records:
            assert not leaks_in(f"{record.args!r}{record.exc_text or ''}"), habit


@pytest.mark.anyio
@pytest.mark.parametrize("name", AUTHS)
async def test_errors_of_a_caller_hold_nothing_of_the_request(name: str) -> None:
    for habit in habits_of(name):
        transport = Rude(habit)
        caller = HttpCaller(URL, transport=transport, auth=AUTHS[name](transport))
        try:
            response = await caller.send("GET", "/x")
            response.json()
        except RateSyncError as error:
            for text in told_by(error):
                assert not leaks_in(text), f"{habit}: {text}"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["bearer", "basic", "query", "key"])
async def test_a_dry_run_shows_no_credential_that_a_record_repeats(name: str) -> None:
    password = {"bearer": mark("bearer"), "basic": mark("password")}.get(name, mark("key"))
    headers = {"X-Key": mark("key"), "X-Token": mark("bearer"), "X-Pair": mark("password")}
    caller = HttpCaller(URL, transport=answering(), headers=headers, auth=AUTHS[name](answering()))
    for spell in canary.SPELLINGS.values():
        told = {"a": [spell(password)], spell(password): 1}
        with recording() as requests, pytest.raises(NotSent):
            await caller.send("POST", "/x", params={"q": spell(password)}, json=told)
        assert len(requests) == 1
        assert "***" in repr(requests[0].body)
        assert not leaks_in(repr(requests) + repr(requests[0].body))


COOKIE = f"set-cookie: session={mark('session')}\r\n".encode()


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ),
                0,
            )
            await reader.readexactly(length)
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + COOKIE + b"content-length: 2\r\n\r\n{}"
            )
    writer.close()


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.anyio
@pytest.mark.parametrize("name", [name for name in AUTHS if name not in {"oauth", "refresh"}])
@pytest.mark.parametrize("own", [True, False], ids=["transport", "client"])
async def test_log_lines_of_httpx_show_no_credential(
    name: str, base_url: str, log: pytest.LogCaptureFixture, *, own: bool
) -> None:
    auth = AUTHS[name](answering())
    if own:
        async with HttpCaller(base_url, auth=auth) as caller:
            assert (await caller.send("POST", "/x", json={"a": 1})).status == 200
    else:
        async with httpx.AsyncClient(trust_env=False) as client:
            caller = HttpCaller(base_url, client=client, auth=auth)
            assert (await caller.send("POST", "/x", json={"a": 1})).status == 200
    assert log.records
    assert not leaks_in(log.text)
    assert not leaks_in(repr([record.args for record in log.records]))


@pytest.mark.anyio
@pytest.mark.parametrize("kind", CLIENTS)
async def test_log_lines_of_clients_show_no_credential(
    kind: str, base_url: str, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await shown_by_logs(kind, log.records, base_url)
    with monkeypatch.context() as broken:  # so that this can fail
        broken.setattr("ratesync.http.log_filter._without_keys", str)
        log.clear()
        assert await shown_by_logs(kind, log.records, base_url)
    with monkeypatch.context() as broken:
        broken.setattr("ratesync.http.log_filter._CORES", ())
        log.clear()
        assert await shown_by_logs(kind, log.records, base_url)


@pytest.mark.anyio
@pytest.mark.parametrize("own", [True, False], ids=["the client's", "of the call"])
async def test_log_lines_show_no_key_among_parameters(
    base_url: str, log: pytest.LogCaptureFixture, *, own: bool
) -> None:
    key = {"api_key": mark("key")}
    async with httpx.AsyncClient(trust_env=False, params=key if own else None) as client:
        caller = HttpCaller(base_url, client=client)
        assert (await caller.send("POST", "/x", json={"a": 1}, params=None if own else key)).status == 200
    assert any("?***" in line.getMessage() for line in log.records)
    assert not leaks_in(log.text)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://ada:{mark('redis')}@127.0.0.1:port/0",
        f"redis://ada:a/{mark('redis')}@127.0.0.1/0",
        f"redis://ada:a?{mark('redis')}@127.0.0.1/0",
        f"redis://ada:a?x={mark('redis')}&{mark('redis')}=1@127.0.0.1/0",
        f"redis://ada:12#{mark('redis')}@127.0.0.1/0",
        f"redis://ada:{mark('redis')}\u2100@127.0.0.1/0",
        f"redis://ada:{mark('redis')}@127.0.0.1/0?{mark('redis')}=1",
        f"redis://ada:{mark('redis')}@127.0.0.1/0?db={mark('redis')}",
        f"redis+sentinel://ada:a/{mark('redis')}@127.0.0.1/s",
        f"redis+cluster://ada:{mark('redis')}@127.0.0.1/{mark('redis')}",
        f"redis://ada:{mark('redis')}@[127.0.0.1/0",
    ],
)
def test_a_url_of_a_redis_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisBackend.from_url(url)
    assert not [text for text in told_by(caught.value) if leaks_in(text)]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ada:{mark('pg')}@127.0.0.1:port/db",
        f"postgresql://ada:a/{mark('pg')}@127.0.0.1/db",
        f"postgresql://ada:a@{mark('pg')}@127.0.0.1/db",
        f"postgresql://ada:{mark('pg')}%zz@127.0.0.1/db",
        f"host=127.0.0.1 password={mark('pg')} {mark('pg')}",
    ],
)
def test_a_url_of_a_postgresql_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgresStateStore.from_url(url)
    assert not [text for text in told_by(caught.value) if leaks_in(text)]


def telling(state: str | None) -> psycopg.Error:
    """An error with the values of a statement and the password in it."""
    kind: type[psycopg.Error] = psycopg.OperationalError if state is None else psycopg.errors.lookup(state)
    error = kind(f"connection to 127.0.0.1 password={mark('pg')} DETAIL: Key (value)=({mark('value')}) exists")
    error.add_note(mark("note"))
    return error


@pytest.mark.anyio
@pytest.mark.parametrize("state", [None, "28P01", "40001", "23505", "42501", "53100"])
async def test_nothing_that_psycopg_says_is_repeated(state: str | None, log: pytest.LogCaptureFixture) -> None:
    def connect() -> psycopg.Connection[Any]:
        raise telling(state)

    store = PostgresStateStore(connect, patience=0.01)
    with pytest.raises(RateSyncError) as caught:
        await store.open()
    assert not [text for text in told_by(caught.value) if leaks_in(text)]
    assert not leaks_in(log.text)


@pytest.mark.anyio
async def test_a_postgresql_that_cannot_be_reached_is_named_without_its_password(log: pytest.LogCaptureFixture) -> None:
    store = PostgresStateStore.from_url(f"postgresql://ada:{mark('pg')}@127.0.0.1:1/db", patience=0.05)
    with pytest.raises(RateSyncError) as caught:
        await store.open()
    assert not [text for text in told_by(caught.value) if leaks_in(text)]
    assert not leaks_in(log.text + canary.told_of(store))


@pytest.mark.anyio
async def test_nothing_that_sqlalchemy_says_is_repeated(tmp_path: Path) -> None:
    metadata = sqlalchemy.MetaData()
    table = sqlalchemy.Table("contacts", metadata, sqlalchemy.Column("id", sqlalchemy.String, primary_key=True))
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/host.db")
    records = SqlRecords(engine, table, outbox=Outbox(metadata))
    with pytest.raises(RateSyncError) as caught:  # there are no tables
        await records.read([mark("value")])
    assert not [text for text in told_by(caught.value) if leaks_in(text)]
    engine.dispose()


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_redis_that_cannot_be_reached_is_named_without_its_password(log: pytest.LogCaptureFixture) -> None:
    backend = RedisBackend.from_url(f"redis://ada:{mark('redis')}@127.0.0.1:1/0")
    said: list[str] = []
    try:
        await backend.queue.open()
    except RateSyncError as error:
        said += told_by(error)
    finally:
        await backend.queue.close()
    assert said
    assert not [text for text in said if leaks_in(text)]
    assert not leaks_in(log.text)


async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A Redis, or a proxy before one, that knows no password and repeats what it is asked."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            count = int((await reader.readuntil(b"\r\n"))[1:])
            words = [await reader.readexactly(int((await reader.readuntil(b"\r\n"))[1:]) + 2) for _ in range(count)]
            said = b" ".join(word.strip() for word in words)
            writer.write(b"-ERR unknown command, with args beginning with: " + said + b"\r\n")
    writer.close()


@pytest.mark.anyio
async def test_a_redis_that_repeats_the_password_is_not_repeated(log: pytest.LogCaptureFixture) -> None:
    server = await asyncio.start_server(refuses, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        backend = RedisBackend.from_url(f"redis://ada:{mark('redis')}@127.0.0.1:{port}/0")
        said: list[str] = []
        try:
            await backend.queue.open()
        except RateSyncError as error:
            said += told_by(error)
        finally:
            await backend.queue.close()
        pulse = Pulse(Address.parse(f"redis://ada:{mark('redis')}@127.0.0.1:{port}/0"), None)
        with pytest.raises(RateSyncError) as caught:
            await run_sync(pulse.ask, b"PING")
        said += told_by(caught.value)
    assert len(said) > 2
    assert not [text for text in said if leaks_in(text)]
    assert not leaks_in(log.text)


@pytest.mark.anyio
async def test_a_webhook_that_is_refused_says_nothing_of_the_secret() -> None:
    for scheme in (
        StripeSignature(mark("webhook")),
        HubSpotV3(mark("webhook")),
        HmacSignature(secrets=mark("webhook")),
        StandardWebhooks(b64encode(mark("webhook").encode()).decode()),
    ):
        verifier = WebhookVerifier(scheme)
        with pytest.raises(RateSyncError) as caught:
            await verifier.verify({"X-Signature": "00"}, b"{}")
        assert not [text for text in told_by(caught.value) if leaks_in(text)]
