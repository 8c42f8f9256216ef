"""Opens wires."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

from ratesync.redis.server.address import Address
from ratesync.redis.server.asyncio_wire import asyncio_wire
from ratesync.redis.server.stream_wire import stream_wire
from ratesync.redis.server.wire import Wire

OpenWire: TypeAlias = Callable[[], AbstractAsyncContextManager[Wire]]


def wire_opener(address: Address, timeout: float, ssl_context: ssl.SSLContext | None) -> OpenWire:
    """A function that opens wires to that Redis, which is one server.

    :param timeout: seconds for each step.
    :param ssl_context: for TLS; None: there is none.
    """

    @asynccontextmanager
    async def open_wire() -> AsyncGenerator[Wire]:
        connect = asyncio_wire if _is_asyncio() else stream_wire
        async with connect(address, timeout, ssl_context) as wire:
            if address.password is not None:
                login = [address.username] if address.username is not None else []
                await wire.ask(["AUTH", *login, address.password.reveal()], timeout)
            if address.db:
                await wire.ask(["SELECT", address.db], timeout)
            yield wire

    return open_wire


def _is_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
