"""One account for each connection, over one pool."""

from __future__ import annotations

import httpx
import pytest

from ratesync.errors import ConfigurationError, NotSent, Unauthorised
from ratesync.http import Account, AccountCallers, AddressGuard, Bearer

pytestmark = pytest.mark.anyio


class Recorder(httpx.AsyncBaseTransport):
    """Answers everything, and tells what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self.is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((str(request.url), request.headers.get("authorization")))
        return httpx.Response(200)

    async def aclose(self) -> None:
        self.is_closed = True


async def test_each_connection_calls_its_own_address_with_its_own_credentials() -> None:
    recorder = Recorder()
    accounts = {
        "ada": Account(Bearer("a")),
        "bob": Account(Bearer("b"), base_url="https://bob.example/v1"),
    }
    callers = AccountCallers(accounts, "https://shared.example/v1", transport=recorder)
    for connection in ("ada", "bob"):
        caller = callers.caller(connection)
        assert callers.caller(connection) is caller
        await caller.send("GET", "/contacts")
        await caller.aclose()
    assert recorder.seen == [
        ("https://shared.example/v1/contacts", "Bearer a"),
        ("https://bob.example/v1/contacts", "Bearer b"),
    ]
    assert not recorder.is_closed
    await callers.aclose()
    assert recorder.is_closed


async def test_one_account_serves_every_connection() -> None:
    recorder = Recorder()
    callers = AccountCallers(Account(Bearer("x")), "https://shared.example", transport=recorder)
    await callers.caller("any").send("GET", "/")
    assert recorder.seen == [("https://shared.example/", "Bearer x")]


def test_a_function_is_asked_once_until_its_account_is_forgotten() -> None:
    asked: list[str] = []

    def account(connection: str) -> Account:
        asked.append(connection)
        return Account(base_url=f"https://{connection}.example")

    callers = AccountCallers(account)
    assert callers.caller("a") is callers.caller("a")
    callers.forget("a")
    callers.caller("a")
    assert asked == ["a", "a"]
    for number in range(1_100):
        callers.caller(f"c{number}")
    callers.caller("a")
    assert asked.count("a") == 3


def test_a_connection_without_an_account_is_unauthorised() -> None:
    with pytest.raises(Unauthorised, match="no account for connection 'bob'"):
        AccountCallers({"ada": Account()}, "https://shared.example").caller("bob")


def test_what_the_function_raises_stays_inside() -> None:
    def broken(connection: str) -> Account:
        raise RuntimeError("s3cr3t")

    with pytest.raises(NotSent, match="failed with RuntimeError") as caught:
        AccountCallers(broken, "https://shared.example").caller("bob")
    assert caught.value.__context__ is None

    def refused(connection: str) -> Account:
        raise Unauthorised("no consent")

    with pytest.raises(Unauthorised, match="no consent"):
        AccountCallers(refused, "https://shared.example").caller("bob")


def test_mistakes_show_at_once() -> None:
    with pytest.raises(ConfigurationError):
        AccountCallers({"ada": Account(base_url="nonsense")})
    with pytest.raises(ConfigurationError, match="guard"):
        AccountCallers({}, "https://a.example", guard=AddressGuard(), transport=Recorder())
    AccountCallers({}, "https://a.example", guard=AddressGuard())
