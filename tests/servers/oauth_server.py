"""An OAuth 2.0 server with single-use refresh tokens and an API that checks the access tokens; a process of its own.

Run as a module it prints its URL and serves until killed. `/control/...` is for the tests: what was asked, and orders
to let the access tokens run out, to revoke the refresh token, to lose answers or to be out of order.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import anyio
import httpx
import jwt
import uvicorn
from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "acme app", "s3cr3t/with:marks+%"
JWT_KEY = "a shared key of more than thirty-two bytes"


@define
class Account:
    """One authorised account."""

    lifetime: float = 3600.0
    access: dict[str, float] = field(factory=dict[str, float])
    """Access tokens and when they run out."""
    refresh: str = ""
    spent: set[str] = field(factory=set[str])
    grants: list[str] = field(factory=list[str])
    """What each token request came to."""
    forms: list[dict[str, str]] = field(factory=list[dict[str, str]])
    api: list[int] = field(factory=list[int])
    """The status of each answer of the API."""
    trouble: list[str] = field(factory=list[str])
    """What goes wrong with the next token requests: "500", "429", "lose", "slow"."""

    def issue(self, *, rotate: bool) -> dict[str, Any]:
        """New tokens; older access tokens stay valid until they run out."""
        token = secrets.token_urlsafe(24)
        self.access[token] = time.time() + self.lifetime
        answer: dict[str, Any] = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}
        if rotate:
            self.spent.add(self.refresh)
            self.refresh = secrets.token_urlsafe(24)
            answer["refresh_token"] = self.refresh
        return answer


ACCOUNTS = [Account()]
"""The one account there is now; a list, so that it can be replaced."""


def client_is_known(request: Request, form: dict[str, str]) -> bool:
    """The client's name and secret, as HTTP Basic or in the form."""
    scheme, _, pair = request.headers.get("authorization", "").partition(" ")
    if scheme == "Basic":
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        return (unquote_plus(name), unquote_plus(secret)) == (CLIENT_ID, CLIENT_SECRET)
    return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)


def refuse(code: str, status: int = 400, noted: str | None = None) -> Response:
    ACCOUNTS[0].grants.append(noted or code)
    return JSONResponse({"error": code, "error_description": "no"}, status)


async def token(request: Request) -> Response:
    account = ACCOUNTS[0]
    form = dict(parse_qsl((await request.body()).decode()))
    account.forms.append(form)
    trouble = account.trouble.pop(0) if account.trouble else ""
    if trouble.isdecimal():
        account.grants.append(trouble)
        return Response("<html>", int(trouble), headers={"retry-after": "7"})
    match form.get("grant_type"):
        case "urn:ietf:params:oauth:grant-type:jwt-bearer":
            jwt.decode(form["assertion"], JWT_KEY, algorithms=["HS256"], audience="https://login.example")
            answer = account.issue(rotate=False)
        case _ if not client_is_known(request, form):
            return refuse("invalid_client", 401)
        case "client_credentials":
            answer = account.issue(rotate=False)
        case "refresh_token":
            if not secrets.compare_digest(form.get("refresh_token", ""), account.refresh):
                is_reused = form.get("refresh_token") in account.spent
                return refuse("invalid_grant", noted="reused" if is_reused else None)
            answer = account.issue(rotate=True)
        case _:
            return refuse("unsupported_grant_type")
    account.grants.append("issued")
    if trouble == "lose":
        return Response("<html>gateway timeout</html>", 504)
    if trouble == "slow":
        await anyio.sleep(0.3)
    return JSONResponse(answer)


async def api(request: Request) -> Response:
    account = ACCOUNTS[0]
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    is_valid = scheme == "Bearer" and account.access.get(sent, 0.0) > time.time()
    account.api.append(200 if is_valid else 401)
    if not is_valid:
        return JSONResponse({"message": f"the token {sent} is not valid"}, 401)
    return JSONResponse({"id": "1", "body": (await request.body()).decode()})


async def control(request: Request) -> Response:
    account = ACCOUNTS[0]
    match request.path_params["order"]:
        case "reset":
            account = ACCOUNTS[0] = Account(**(await request.json()))
            return JSONResponse(account.issue(rotate=True))
        case "expire":
            account.access.clear()
        case "revoke":
            account.access.clear()
            account.refresh = secrets.token_urlsafe(24)
        case _:
            pass
    return JSONResponse(
        {"grants": account.grants, "api": account.api, "refresh": account.refresh, "forms": account.forms}
    )


app = Starlette(
    routes=[
        Route("/token", token, methods=["POST"]),
        Route("/api", api, methods=["GET", "POST"]),
        Route("/control/{order}", control, methods=["POST"]),
    ]
)


@define
class OAuthServer:
    """A running server, as tests see it."""

    url: str

    def order(self, what: str, **options: Any) -> Any:
        """Tell it something; answers what it has seen."""
        return httpx.post(f"{self.url}/control/{what}", json=options, trust_env=False, timeout=10).json()


@contextmanager
def running_oauth_server() -> Generator[OAuthServer]:
    """A server in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield OAuthServer(json.loads(line)["url"])
    finally:
        process.kill()
        process.communicate()


def serve() -> None:
    """Serve on a free port until killed."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)  # noqa: T201
        uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")).run([listener])


if __name__ == "__main__":
    serve()
