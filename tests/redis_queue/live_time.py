"""Virtual time with a real server: time stands still for as long as the server has something to do or to say.

Before time jumps, the server is asked again and again whether it is there. It answers once in each of its rounds, so
what was sent before has been carried out in the end, and all its answers are here. It is reached by a socket file:
between two connections over TCP, a busy machine may deliver what was sent last first.
"""

from __future__ import annotations

import selectors
import socket
from typing import Any

from ratesync.testing import virtual_loop
from ratesync.testing.trio_run import TrioRun
from ratesync.testing.virtual_loop import IdleSelector, VirtualEventLoop
from tests.servers.valkey_server import Valkey

ROUNDS = 20
"""In a round, Redis reads 16 KiB of a connection. A socket holds 208 KiB; the longest script has 45."""


class Barrier:
    """A connection to the server on which it is asked."""

    def __init__(self, server: Valkey) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(server.socket_file))

    def wait(self) -> None:
        """Until the server has done what it was told."""
        for _ in range(ROUNDS):
            self._socket.sendall(b"PING\r\n")
            answer = b""
            while not answer.endswith(b"\r\n"):
                answer += self._socket.recv(64)

    def close(self) -> None:
        self._socket.close()


class LiveSelector(IdleSelector):
    """Sockets are welcome."""

    barrier: Barrier

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.DefaultSelector.register(self, fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = selectors.DefaultSelector.select(self, 0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        self.barrier.wait()
        return selectors.DefaultSelector.select(self, 0) or super().select(timeout)


def live_loop(barrier: Barrier) -> type[VirtualEventLoop]:
    """The class of event loops whose time stands still while that server works."""

    class Selector(LiveSelector):
        pass

    Selector.barrier = barrier

    class Loop(VirtualEventLoop):
        def __init__(self) -> None:
            original = virtual_loop.IdleSelector
            virtual_loop.IdleSelector = Selector  # type: ignore[misc]
            try:
                super().__init__()
            finally:
                virtual_loop.IdleSelector = original  # type: ignore[misc]

    return Loop


class LiveRun(TrioRun):
    """The same for trio."""

    def __init__(self, barrier: Barrier, seed: int = 0) -> None:
        super().__init__(seed)
        self._barrier = barrier

    def before_io_wait(self, timeout: float) -> None:
        if not self._trio.current_statistics().tasks_runnable:
            self._barrier.wait()
        super().before_io_wait(timeout)
