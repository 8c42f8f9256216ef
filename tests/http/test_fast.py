from __future__ import annotations

import sys

import anyio
import pytest

from ratesync.errors import AnswerLost, ConfigurationError
from ratesync.http import HttpCaller, fast_transport
from tests.servers.fault_server import FaultServer
from tests.servers.replies import json_answer, reset_before_answer


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'ratesync\[fast\]'"):
        fast_transport()


def test_on_trio_the_error_says_what_to_do(fault_server: FaultServer) -> None:
    async def call() -> None:
        async with HttpCaller(fault_server.url, transport=fast_transport()) as caller:
            await caller.send("GET", "/")

    with pytest.raises(ConfigurationError, match="on asyncio only"):
        anyio.run(call, backend="trio")
    assert fault_server.requests == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_request_is_repeated_when_a_kept_connection_breaks(fault_server: FaultServer, method: str) -> None:
    """Aiohttp by itself would: then a "412: exists already" could be about our own write."""
    fault_server.script("/", json_answer({}), reset_before_answer)

    async def call() -> None:
        async with HttpCaller(fault_server.url, transport=fast_transport()) as caller:
            await caller.send(method, "/")
            with pytest.raises(AnswerLost):
                await caller.send(method, "/")

    anyio.run(call)
    assert len(fault_server.requests) == 2
