"""One call for a connection, as adapters make it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from ratesync.errors import ConfigurationError, NotSent
from ratesync.http.caller import HttpCaller
from ratesync.http.response import Response
from ratesync.model.secret import Secret


class RequestOptions(TypedDict, total=False):
    """What may be said of one request, as for :meth:`ratesync.http.HttpCaller.send`."""

    params: Mapping[str, str] | None
    json: Any
    content: bytes | None
    headers: Mapping[str, str | Secret] | None


async def make_call(caller: HttpCaller, method: str, target: str, **request: Unpack[RequestOptions]) -> Response:
    """Make one call; the whole answer, whatever its status.

    :raises ProviderError: as for :meth:`ratesync.http.HttpCaller.send`; and ``NotSent`` where the settings of the
        connection cannot be used: nothing is wrong with what was to be sent, so it waits until the host has put them
        right.
    """
    try:
        return await caller.send(method, target, **request)
    except ConfigurationError as error:
        problem = str(error)
    raise NotSent(problem)
