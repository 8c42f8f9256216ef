"""Tokens in one process: renewed once, stored before use, and what happens when they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
import httpx
import pytest
from attrs import define, field, frozen

from ratesync.errors import ConfigurationError, NeedsReauth, NotSent, Throttled, Unavailable
from ratesync.http import (
    ClientCredentials,
    FernetCipher,
    HttpCaller,
    JwtBearer,
    LocalVault,
    OAuth2,
    RefreshToken,
    StateVault,
    TokenEndpoint,
    TokenKeeper,
    Tokens,
)
from ratesync.http.reason import reason_of
from ratesync.http.vault import Held
from ratesync.memory import MemoryBackend
from ratesync.model.outcome import Cause, RetryLater
from ratesync.model.secret import Secret
from ratesync.model.stored import Write
from ratesync.rules.provider_errors import outcome_for_error

pytestmark = pytest.mark.anyio

CANARY = "hunter2-canary"
FIRST = Tokens(access=Secret("a0"), refresh=Secret("r0"), expires_at=0.0, generation=1)


@define
class Login:
    """A token endpoint and an API with single-use refresh tokens, in this process."""

    refresh: str = "r0"
    access: str = "none"
    issued: int = 0
    forms: list[dict[str, str]] = field(factory=list[dict[str, str]])
    calls: list[int] = field(factory=list[int])
    troubles: list[httpx.Response | Exception] = field(factory=list[httpx.Response | Exception])
    more: dict[str, Any] = field(factory=lambda: {"expires_in": 3600})
    delay: float = 0.0

    async def token(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode()))
        self.forms.append(form)
        await anyio.sleep(self.delay)
        if self.troubles:
            trouble = self.troubles.pop(0)
            if isinstance(trouble, Exception):
                raise trouble
            return trouble
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return httpx.Response(400, json={"error": "invalid_grant", "error_description": CANARY})
        self.issued += 1
        self.access, self.refresh = f"a{self.issued}", f"r{self.issued}"
        return httpx.Response(200, json={"access_token": self.access, "refresh_token": self.refresh, **self.more})

    async def api(self, request: httpx.Request) -> httpx.Response:
        is_valid = request.headers["authorization"] == f"Bearer {self.access}"
        await anyio.sleep(0.01)
        self.calls.append(200 if is_valid else 401)
        return httpx.Response(self.calls[-1], json={"message": f"{request.headers['authorization']}-is-bad"})


@pytest.fixture
def login() -> Login:
    return Login()


@pytest.fixture
def make_keeper(login: Login) -> Callable[..., TokenKeeper]:
    def make(**options: Any) -> TokenKeeper:
        endpoint = TokenEndpoint(
            "https://login.example/token",
            client_id="app",
            client_secret=CANARY,
            transport=httpx.MockTransport(login.token),
        )
        settings: dict[str, Any] = {"grant": RefreshToken(), "endpoint": endpoint, **options}
        return TokenKeeper(**settings)

    return make


MakeKeeper = Callable[..., TokenKeeper]


def api(login: Login, keeper: TokenKeeper) -> HttpCaller:
    return HttpCaller("https://api.example", auth=OAuth2(keeper), transport=httpx.MockTransport(login.api))


async def test_case_54_a_hundred_calls_meet_a_401_and_one_renewal_serves_them(
    login: Login, make_keeper: MakeKeeper
) -> None:
    keeper = make_keeper()
    await keeper.store(FIRST)
    caller = api(login, keeper)
    assert (await caller.send("GET", "/")).status == 200
    login.access = "revoked"
    statuses: list[int] = []

    async def call() -> None:
        statuses.append((await caller.send("POST", "/", json={})).status)

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(call)
    assert statuses == [200] * 100
    assert login.issued == 2
    assert login.calls.count(401) > 1


async def test_a_token_is_renewed_before_it_runs_out(login: Login, make_keeper: MakeKeeper) -> None:
    login.more = {"expires_in": "59"}
    keeper = make_keeper()
    await keeper.store(FIRST)
    assert [(await keeper.tokens()).access.reveal() for _ in range(2)] == ["a1", "a2"]
    login.more = {}
    assert [(await keeper.tokens()).access.reveal() for _ in range(2)] == ["a3", "a3"]


async def test_a_second_401_is_the_operations_own(login: Login, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper()
    await keeper.store(FIRST)
    caller = HttpCaller(
        "https://api.example", auth=OAuth2(keeper), transport=httpx.MockTransport(lambda _: httpx.Response(401))
    )
    assert (await caller.send("GET", "/")).status == 401
    assert login.issued == 2


async def test_case_55_a_refused_refresh_token_needs_consent_and_is_not_tried_again(
    login: Login, make_keeper: MakeKeeper
) -> None:
    login.refresh = "another"
    keeper = make_keeper()
    await keeper.store(FIRST)
    for _ in range(3):
        with pytest.raises(NeedsReauth) as caught:
            await keeper.tokens()
        assert caught.value.code == "invalid_grant"
        assert CANARY not in str(caught.value)
    assert len(login.forms) == 1
    login.refresh = "r0"
    await keeper.store(FIRST)
    assert (await keeper.tokens()).access.reveal() == "a1"


async def test_case_55_after_a_refusal_the_tokens_of_another_process_are_looked_up(
    login: Login, make_keeper: MakeKeeper
) -> None:
    """It went on with an old lock, so both used the same refresh token."""
    vault = LocalVault()
    keeper = make_keeper(vault=vault)
    await keeper.store(FIRST)
    login.refresh, login.delay = "another", 0.1

    async def renew_elsewhere() -> None:
        await anyio.sleep(0.03)
        held = await vault.read()
        await vault.save(Tokens(access=Secret("theirs"), refresh=Secret("r9"), generation=3), held.revision)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(renew_elsewhere)
        assert (await keeper.tokens()).access.reveal() == "theirs"


async def test_case_55_a_lost_answer_means_nothing_was_sent(login: Login, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper()
    await keeper.store(FIRST)
    login.troubles = [httpx.ReadError("reset")]
    with pytest.raises(NotSent, match="no token could be had"):
        await keeper.tokens()
    assert (await keeper.tokens()).access.reveal() == "a1"


TROUBLES: dict[str, tuple[httpx.Response, type[Exception]]] = {
    "429": (httpx.Response(429, headers={"retry-after": "7"}), Throttled),
    "503": (httpx.Response(503), Unavailable),
    "HTML": (httpx.Response(200, html="<p>Log in</p>"), NotSent),
    "500": (httpx.Response(500, json={"error": "server_error"}), NotSent),
    "404": (httpx.Response(404), NotSent),
    "a token with a line break": (httpx.Response(200, json={"access_token": "a\nb"}), NotSent),
    "no token": (httpx.Response(200, json=[]), NotSent),
    "invalid client": (httpx.Response(401, json={"error": "invalid_client"}), NeedsReauth),
    "a redirect": (httpx.Response(307, headers={"location": "https://evil.example/"}), NotSent),
}


@pytest.mark.parametrize(("trouble", "error"), TROUBLES.values(), ids=TROUBLES)
async def test_whatever_an_endpoint_answers_no_operation_was_sent(
    login: Login, make_keeper: MakeKeeper, trouble: httpx.Response, error: type[Exception]
) -> None:
    keeper = make_keeper(grant=ClientCredentials(scope="all"))
    login.troubles = [trouble]
    with pytest.raises(error) as caught:
        await api(login, keeper).send("GET", "/")
    assert CANARY not in str(caught.value)
    assert login.calls == []
    assert (await keeper.tokens()).access.reveal() == "a1"


async def test_those_who_waited_share_a_failure(login: Login, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper(grant=ClientCredentials())
    login.troubles, login.delay = [httpx.Response(503)] * 50, 0.02
    failures: list[Exception] = []

    async def want() -> None:
        try:
            await keeper.tokens()
        except Unavailable as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(want)
    assert (len(failures), len(login.forms)) == (50, 1)


async def test_a_cancelled_renewal_still_stores_its_tokens(login: Login, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper()
    await keeper.store(FIRST)
    login.delay = 0.1
    with anyio.move_on_after(0.02) as scope:
        await keeper.tokens()
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    held = await keeper.vault.read()
    assert held.tokens is not None
    assert (held.tokens.refresh, held.lock) == (Secret("r1"), 0)


@define
class FailingVault(LocalVault):
    failures: int = 0

    async def save(self, tokens: Tokens, revision: int) -> bool:
        if tokens.access != FIRST.access and self.failures:
            self.failures -= 1
            raise OSError(CANARY)
        return await LocalVault.save(self, tokens, revision)


async def test_new_tokens_are_not_used_before_they_are_stored(login: Login, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper(vault=FailingVault(failures=5))
    await keeper.store(FIRST)
    with pytest.raises(NotSent, match="cannot be stored") as caught:
        await api(login, keeper).send("GET", "/")
    assert CANARY not in str(caught.value)
    assert login.calls == []
    assert (await keeper.tokens()).refresh == Secret("r1")
    assert login.issued == 1, "the tokens that could not be stored were forgotten"


async def test_a_dead_process_leaves_a_lock_that_is_taken_over(login: Login, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper(lease=0.1)
    await keeper.store(FIRST)
    assert await keeper.vault.lock(0) is not None
    with anyio.fail_after(5):
        assert (await keeper.tokens()).access.reveal() == "a1"


async def test_a_living_process_keeps_its_lock(login: Login, make_keeper: MakeKeeper) -> None:
    """Its renewal takes far longer than the lease."""
    vault = LocalVault()
    one, other = make_keeper(vault=vault, lease=0.2), make_keeper(vault=vault, lease=0.2)
    await one.store(FIRST)
    login.delay = 1.0
    got: list[str] = []

    async def want(keeper: TokenKeeper) -> None:
        got.append((await keeper.tokens()).access.reveal())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(want, one)
        tasks.start_soon(want, other)
    assert got == ["a1", "a1"]
    assert login.issued == 1


async def test_the_client_is_named_as_the_provider_wants_it(login: Login) -> None:
    for in_body in (True, False):
        endpoint = TokenEndpoint(
            "https://login.example/token",
            client_id="app",
            client_secret="p:w",
            in_body=in_body,
            transport=httpx.MockTransport(login.token),
        )
        await endpoint.ask(ClientCredentials(more={"audience": "x"}).form(None, 0.0), None)
    assert login.forms == [
        {"grant_type": "client_credentials", "audience": "x", "client_id": "app", "client_secret": "p:w"},
        {"grant_type": "client_credentials", "audience": "x"},
    ]
    with pytest.raises(ConfigurationError, match="client_id"):
        TokenEndpoint("https://login.example/token", client_secret="x")


async def test_an_assertion_is_signed(login: Login, make_keeper: MakeKeeper) -> None:
    import jwt

    key = Secret("a shared key of more than thirty-two bytes")
    grant = JwtBearer(key=key, issuer="app", subject="ada", audience="aud", algorithm="HS256", key_id="k1")
    assert (await make_keeper(grant=grant).tokens()).access.reveal() == "a1"
    assertion = login.forms[0]["assertion"]
    claims = jwt.decode(assertion, key.reveal(), algorithms=["HS256"], audience="aud")
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("app", "ada", 180)
    assert jwt.get_unverified_header(assertion)["kid"] == "k1"


async def test_a_key_that_cannot_sign_is_told_as_what_it_is(login: Login, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper(grant=JwtBearer(key=CANARY, issuer="app", audience="aud"))
    for _ in range(2):  # it holds no lock afterwards
        with pytest.raises(ConfigurationError, match="cannot sign with RS256") as caught:
            await api(login, keeper).send("GET", "/")
        assert CANARY not in str(caught.value)
    assert (login.forms, login.calls) == ([], [])
    assert (await keeper.vault.read()).lock == 0


async def test_a_vault_encrypts_and_belongs_to_one_connection() -> None:
    from cryptography.fernet import Fernet

    store = MemoryBackend().state
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    vault = StateVault(store, "acme/a", FernetCipher(old))
    assert await vault.read() == Held(None, 0, 0)
    assert await vault.save(FIRST, 0)
    assert not await vault.save(FIRST, 0)
    assert (await StateVault(store, "acme/a", FernetCipher(new, old)).read()).tokens == FIRST
    (stored,) = await store.load(["oauth/acme/a/tokens"])
    assert stored is not None
    assert b"generation" not in stored.value
    await store.commit([Write("oauth/acme/b/tokens", stored.value)])
    with pytest.raises(ValueError, match="another connection"):
        await StateVault(store, "acme/b", FernetCipher(old)).read()
    with pytest.raises(ValueError, match="cannot be decrypted"):
        await StateVault(store, "acme/a", FernetCipher(new)).read()
    with pytest.raises(ConfigurationError, match="Fernet keys"):
        FernetCipher("short")
    lock = await vault.lock(0)
    assert lock is not None
    assert await vault.lock(0) is None
    await vault.unlock(lock + 1)
    assert (await vault.read()).lock == lock
    await vault.unlock(lock)
    assert (await vault.read()).lock == 0


@frozen
class Shown:
    """Everything that could show a secret."""

    keeper: TokenKeeper
    tokens: Tokens


async def test_tokens_show_nowhere(login: Login, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper(vault=LocalVault())
    await keeper.store(Tokens(access=Secret(CANARY), refresh=Secret(CANARY)))
    shown = repr(Shown(keeper, await keeper.tokens())) + repr(OAuth2(keeper)) + repr(await keeper.vault.read())
    assert CANARY not in shown
    refused = httpx.Response(422, json={"message": f"Bearer {CANARY} may not do this"})
    caller = HttpCaller("https://api.example", auth=OAuth2(keeper), transport=httpx.MockTransport(lambda _: refused))
    response = await caller.send("GET", "/")
    assert reason_of(response) == "HTTP 422 Unprocessable Entity: *** may not do this"
    assert CANARY not in repr(response)


def test_case_55_the_connection_is_paused_and_its_operations_wait() -> None:
    outcome = outcome_for_error(NeedsReauth("no new token", code="invalid_grant"))
    assert outcome == RetryLater("no new token", Cause.UNAUTHORISED)
