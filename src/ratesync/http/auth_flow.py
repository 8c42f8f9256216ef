"""Making a call the way an authentication object of httpx's kind wants it made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import TypeVar

import httpx
from attrs import evolve

from ratesync.errors import AnswerLost, ConfigurationError, NotSent, RateSyncError, UnsafeRedirect
from ratesync.http.origin import Origin
from ratesync.http.response import Response
from ratesync.http.sent import query_pairs
from ratesync.model.secret import Secret
from ratesync.rules.masking import is_short

StepT = TypeVar("StepT")
ToldT = TypeVar("ToldT")
Call = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[Response]]

_NOT_SENT_ON = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Set anew for each request by the client."""
_UNDONE = frozenset({"content-encoding", "transfer-encoding", "content-length"})
"""What no longer holds for a body that was read whole."""
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
_MOST_ROUNDS = 8


class HeaderAuth(httpx.Auth, ABC):
    """An authentication that adds header fields only: callers of ours ask for them without a request of httpx's."""

    @abstractmethod
    def header_flow(self) -> AsyncGenerator[Mapping[str, str], int]:
        """Yields the fields for the request, names in lower case, and is sent the answer's status; again, to repeat it.

        It says the same as ``async_auth_flow``, which clients of the host's use.
        """


async def authenticated(
    auth: httpx.Auth,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    *,
    origin: Origin,
    call: Call,
) -> Response:
    """The last answer of an authentication flow; what it added to the request is noted as secret, however short.

    :raises UnsafeRedirect: the flow wants to go to another origin.
    :raises NotSent: the flow itself failed, before the request was sent or after it was refused.
    :raises AnswerLost: it failed after another answer.
    """
    if isinstance(auth, HeaderAuth) and _is_all(type(auth)):

        async def send_with(fields: Mapping[str, str]) -> Response:
            return _noting(await call(method, url, {**headers, **fields}, content), fields)

        return await _last_answer(auth.header_flow(), send_with, lambda answer: answer.status)
    request = httpx.Request(method, url, headers=headers, content=content)

    async def send(prepared: httpx.Request) -> Response:
        if not origin.owns(prepared.url):
            raise UnsafeRedirect(f"an authentication points away from {origin}: nothing was sent there")
        fields = {name: value for name, value in prepared.headers.items() if name not in _NOT_SENT_ON}
        answer = await call(prepared.method, str(prepared.url), fields, prepared.content or None)
        added = {name: value for name, value in fields.items() if headers.get(name) != value}
        answer = _noting(answer, added)
        return evolve(answer, secrets=(*answer.secrets, *_params_added(url, prepared.url)))

    return await _last_answer(auth.async_auth_flow(request), send, lambda answer: _as_httpx(answer, request))


@cache
def _is_all(kind: type[HeaderAuth]) -> bool:
    """Whether its ``header_flow`` tells all: a class of the host's may have overridden a flow of httpx's kind alone."""
    flows = ("header_flow", "async_auth_flow", "auth_flow")
    return next(name for part in kind.__mro__ for name in flows if name in vars(part)) == "header_flow"


async def _last_answer(
    flow: AsyncGenerator[StepT, ToldT], send: Callable[[StepT], Awaitable[Response]], tell: Callable[[Response], ToldT]
) -> Response:
    """Send each step of a flow, and tell the flow what came of it."""
    answer: Response | None = None
    try:
        for _ in range(_MOST_ROUNDS):
            step = await _next(anext(flow) if answer is None else flow.asend(tell(answer)), answer)
            if step is None:
                break
            answer = await send(step)
    finally:
        await flow.aclose()
    if answer is None:
        raise ConfigurationError("the authentication object sends no request")
    return answer


async def _next(step: Awaitable[StepT], answer: Response | None) -> StepT | None:
    """The flow's next step, None at its end."""
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


def _noting(answer: Response, added: Mapping[str, str]) -> Response:
    """The answer, with what an authentication has added to the headers among its secrets, whatever the names.

    Long values are there already.
    """
    short = tuple(Secret(value) for value in added.values() if value and is_short(value))
    return evolve(answer, secrets=(*answer.secrets, *short)) if short else answer


def _as_httpx(answer: Response, request: httpx.Request) -> httpx.Response:
    headers = [(name, value) for name, value in answer.headers.items() if name not in _UNDONE]
    return httpx.Response(answer.status, headers=headers, content=answer.body, request=request)


def _params_added(before: str, after: httpx.URL) -> list[Secret]:
    known = query_pairs(before)
    return [Secret(value) for name, value in query_pairs(after) if value and (name, value) not in known]
