"""Making a call the way an authentication object of httpx's kind wants it made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import httpx
from attrs import evolve

from ratesync.errors import AnswerLost, ConfigurationError, NotSent, RateSyncError, UnsafeRedirect
from ratesync.http.origin import Origin
from ratesync.http.response import Response
from ratesync.http.sent import query_pairs
from ratesync.model.secret import Secret

Call = Callable[[str, httpx.URL, Mapping[str, str], bytes | None], Awaitable[Response]]

_NOT_SENT_ON = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Set anew for each request by the client."""
_UNDONE = frozenset({"content-encoding", "transfer-encoding", "content-length"})
"""What no longer holds for a body that was read whole."""
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
_MOST_ROUNDS = 8


async def authenticated(auth: httpx.Auth, request: httpx.Request, origin: Origin, call: Call) -> Response:
    """The last answer of an authentication flow; what it added to the request's query is noted as secret.

    :raises UnsafeRedirect: the flow wants to go to another origin.
    :raises NotSent: the flow itself failed, before the request was sent or after it was refused.
    :raises AnswerLost: it failed after another answer.
    """
    asked = request.url
    flow = auth.async_auth_flow(request)
    answer: Response | None = None
    try:
        for _ in range(_MOST_ROUNDS):
            step = anext(flow) if answer is None else flow.asend(_as_httpx(answer, request))
            prepared = await _next(step, answer)
            if prepared is None:
                break
            if not origin.owns(prepared.url):
                raise UnsafeRedirect(f"an authentication points away from {origin}: nothing was sent there")
            headers = {name: value for name, value in prepared.headers.items() if name not in _NOT_SENT_ON}
            content = prepared.content or None
            answer = await call(prepared.method, prepared.url, headers, content)
            answer = evolve(answer, secrets=(*answer.secrets, *_params_added(asked, prepared.url)))
    finally:
        await flow.aclose()
    if answer is None:
        raise ConfigurationError("the authentication object sends no request")
    return answer


async def _next(step: Awaitable[httpx.Request], answer: Response | None) -> httpx.Request | None:
    """The flow's next request, None at its end."""
    try:
        return await step
    except StopAsyncIteration:
        return None
    except RateSyncError:
        raise
    except Exception as error:  # noqa: BLE001  an authentication of the host's may raise anything
        problem = type(error).__name__
    if answer is None or answer.status in _REFUSED:
        raise NotSent(f"authentication failed with {problem}")
    raise AnswerLost(f"the answer came, and then authentication failed with {problem}")


def _as_httpx(answer: Response, request: httpx.Request) -> httpx.Response:
    headers = [(name, value) for name, value in answer.headers.items() if name not in _UNDONE]
    return httpx.Response(answer.status, headers=headers, content=answer.body, request=request)


def _params_added(before: httpx.URL, after: httpx.URL) -> list[Secret]:
    known = query_pairs(before)
    return [Secret(value) for name, value in query_pairs(after) if value and (name, value) not in known]
