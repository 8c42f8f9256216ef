"""One use of a connection: a thread talks, and another may end the talk."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from ratesync.postgres.connect import client

if TYPE_CHECKING:
    from ratesync.postgres.connect import Connection


class Link:
    """The connection that a thread uses for one call, once it has one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._connection: Connection | None = None
        self._is_cut = False
        self.was_autocommit = True
        """How the host had set the connection."""

    def hold(self, connection: Connection) -> None:
        """Have this connection cut if somebody cuts the link. Called in the thread."""
        with self._lock:
            self._connection = connection
            if self._is_cut:
                _shut(connection)

    def release(self) -> bool:
        """The thread is done with the connection; whether nobody has cut it."""
        with self._lock:
            self._connection = None
            return not self._is_cut

    def cut(self) -> None:
        """End the talk: nothing more is sent, and who waits for an answer gets an error. From any thread."""
        with self._lock:
            self._is_cut = True
            if self._connection is not None:
                _shut(self._connection)


def _shut(connection: Connection) -> None:
    """Shut the socket without closing it, as its number would be somebody else's while the thread still uses it."""
    with suppress(OSError, client().Error):  # closed already
        borrowed = socket.socket(fileno=connection.fileno())
        try:
            borrowed.shutdown(socket.SHUT_RDWR)
        finally:
            borrowed.detach()
