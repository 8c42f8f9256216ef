from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from ratesync.errors import NotSent
from ratesync.http import Account, ApiKey, Basic, Bearer, HttpCaller, OnlyAt, QueryKey
from ratesync.http.headers import Headers
from ratesync.http.reason import LONGEST_MESSAGE, code_of, reason_of
from ratesync.http.response import Response
from ratesync.protocols.preview import recording

AS_JSON = Headers([(b"content-type", b"application/problem+json; charset=utf-8")])


def answer(body: Any, status: int = 422) -> Response:
    return Response(status, AS_JSON, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"message": "no such list", "code": 422, "errno": 110}, "no such list", "110"),
        ({"message": "no such list", "code": 422}, "no such list", None),
        ({"error": "invalid_grant", "error_description": "expired"}, "expired", "invalid_grant"),
        ({"error": {"code": "E-1", "message": "bad stage"}, "message": "failed"}, "bad stage", "E-1"),
        (
            [{"errorCode": "REQUIRED_FIELD_MISSING", "message": "Required: Name"}],
            "Required: Name",
            "REQUIRED_FIELD_MISSING",
        ),
        ({"errors": [{"detail": "too long", "code": 7}]}, "too long", "7"),
        ({"title": "Gone", "type": "https://example.org/problems/gone"}, "Gone", None),
        ({"error": "no such person"}, "no such person", None),
        ({"message": {"text": "nested"}, "code": True}, None, None),
        ({"errors": []}, None, None),
        ([], None, None),
        ("words", None, None),
        (b"{", None, None),
        (b"", None, None),
    ],
)
def test_message_and_code_are_found_where_apis_put_them(body: Any, message: str | None, code: str | None) -> None:
    response = answer(body)
    assert reason_of(response) == f"HTTP 422 Unprocessable Entity{'' if message is None else ': ' + message}"
    assert code_of(response) == code


def test_a_page_of_html_is_not_looked_into() -> None:
    page = Response(502, Headers([(b"content-type", b"text/html")]), b'{"message": "x"}')
    assert reason_of(page) == "HTTP 502 Bad Gateway"


def test_an_unregistered_status_is_a_number() -> None:
    assert reason_of(Response(529)) == "HTTP 529"


def test_a_message_is_one_short_line() -> None:
    reason = reason_of(answer({"message": "line\r\n\x1b[31mline\u2028\u202eenil " + "x" * 1_000}))
    assert reason.startswith("HTTP 422 Unprocessable Entity: line [31mline enil xxx")
    assert len(reason) == len("HTTP 422 Unprocessable Entity: ") + LONGEST_MESSAGE
    assert reason.endswith("x…")


def test_credentials_in_a_message_are_masked() -> None:
    body = {"message": "Bearer token tok-1234567890-abc of key tok-1234567890 is bad"}
    secrets = ("Bearer tok-1234567890", "tok-1234567890-abc", "Basic")
    assert reason_of(answer(body, 400), secrets) == "HTTP 400 Bad Request: Bearer token *** of key *** is bad"


URL = "https://api.example/bot/123456:AAF3-x/v1"


def repeating(request: httpx.Request) -> httpx.Response:
    """All that was sent."""
    return httpx.Response(400, json={"message": f"you sent {dict(request.headers)} to {request.url}", "code": "pw1"})


@pytest.mark.anyio
async def test_a_key_in_the_path_of_a_base_url_shows_nowhere() -> None:
    async with HttpCaller(URL, transport=httpx.MockTransport(repeating)) as caller:
        response = await caller.send("GET", "/contacts/42")
        with recording() as requests, pytest.raises(NotSent):
            await caller.send("GET", "/contacts/42")
        said = f"{reason_of(response)} {requests} {caller!r} {caller.origin!r} {Account(base_url=URL)!r}"
    assert "AAF3" not in said
    assert said.count("https://api.example/bot/***/v1/contacts/42") == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    "auth",
    [
        ApiKey("pw1", header="X-Acme"),
        Bearer("pw1"),
        Basic("ada", "pw1"),
        QueryKey("pw1", param="k"),
        OnlyAt(URL, ApiKey("pw1", header="X-Acme")),
    ],
    ids=lambda auth: type(auth).__name__,
)
async def test_a_short_key_is_masked_where_it_is_a_word(auth: httpx.Auth) -> None:
    async with HttpCaller(URL, transport=httpx.MockTransport(repeating), auth=auth) as caller:
        response = await caller.send("GET", "/pw12")
    reason = reason_of(Response(400, AS_JSON, b'{"message": "no key pw1, for pw12"}', response.secrets))
    assert reason == "HTTP 400 Bad Request: no key ***, for pw12"
    assert code_of(response) is None
