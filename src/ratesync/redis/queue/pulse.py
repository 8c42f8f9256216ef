"""A sign of life from any thread, over a blocking connection of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from contextlib import closing, suppress

from ratesync.errors import QueueError
from ratesync.model.secret import Secret
from ratesync.redis.errors import ServerAway
from ratesync.redis.server.address import Address, Kind
from ratesync.redis.server.reply_error import code_of
from ratesync.redis.server.resp import Answers, Garbled, ReplyError, packed

SECONDS = 2.0
"""For each step: to connect, and for an answer."""
CHUNK = 65_536
HOPS = 4
"""Redirections that are followed."""


class Pulse:
    """Connects when it is first needed, and stays connected. Safe to use from several threads."""

    def __init__(self, address: Address | None, ssl_context: ssl.SSLContext | None) -> None:
        self._address = address
        self._ssl_context = ssl_context
        self._hosts = deque(address.hosts if address is not None and address.hosts else [("", 0)])
        """In the order in which they are tried; none is needed for a socket."""
        self._lock = threading.Lock()
        self._wire: _Wire | None = None

    def ask(self, *words: bytes) -> object:
        """Send a command and wait for its answer; once more on a new connection if the old one broke.

        :raises QueueError: there was none.
        """
        address = self._address
        if address is None:
            raise QueueError("it is not known where the Redis of the host's client is: give the server a URL")
        with self._lock:
            try:
                return self._ask(address, words)
            except (OSError, EOFError, ValueError, Garbled) as error:
                self.close()
                problem = type(error).__name__
        raise ServerAway(f"no sign of life was given: {problem}.")

    def close(self) -> None:
        """Let go of the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _ask(self, address: Address, words: tuple[bytes, ...]) -> object:
        for _ in range(HOPS):
            if self._wire is None:
                self._wire = self._reach(address)
            try:
                answer = self._wire.ask(*words)
            except (OSError, EOFError):
                self.close()
                self._hosts.rotate(-1)
                continue
            if not isinstance(answer, ReplyError):
                return answer
            code, *rest = str(answer).split()
            if code == "MOVED":
                host, _, port = rest[1].rpartition(":")
                self.close()
                self._wire = self._connect(address, host, int(port))
            elif code == "READONLY":
                self.close()
            else:
                raise _refused(answer)
        raise EOFError

    def _reach(self, address: Address) -> _Wire:
        """The server; of a cluster the first node that answers."""
        if address.kind is Kind.SENTINEL:
            return self._connect(address, *self._primary(address))
        for _ in range(1, len(self._hosts)):
            with suppress(OSError, EOFError, ServerAway):
                return self._connect(address, *self._hosts[0])
            self._hosts.rotate(-1)
        return self._connect(address, *self._hosts[0])

    def _primary(self, address: Address) -> tuple[str, int]:
        for place in address.hosts:
            with suppress(OSError, EOFError, ServerAway), closing(_Wire(self._socket(address, *place))) as wire:
                wire.greet(address.sentinel_username, address.sentinel_password, 0)
                match wire.ask(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", address.service.encode()):
                    case [bytes() as name, bytes() as number]:
                        return name.decode(), int(number)
                    case _:
                        continue
        raise OSError("no sentinel knows the primary")

    def _connect(self, address: Address, host: str, port: int) -> _Wire:
        wire = _Wire(self._socket(address, host, port))
        try:
            wire.greet(address.username, address.password, address.db)
        except BaseException:
            wire.close()
            raise
        return wire

    def _socket(self, address: Address, host: str, port: int) -> socket.socket:
        if address.kind is Kind.SOCKET:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(SECONDS)
            connection.connect(address.path)
            return connection
        connection = socket.create_connection((host, port), timeout=SECONDS)
        if not address.is_tls:
            return connection
        context = self._ssl_context or ssl.create_default_context(cafile=address.ssl_ca_certs)
        return context.wrap_socket(connection, server_hostname=host)


def _refused(answer: ReplyError) -> ServerAway:
    return ServerAway(f"no sign of life was given: {code_of(answer) or 'it was refused'}.")


class _Wire:
    """A connection on which one command is under way at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._answers = Answers()

    def close(self) -> None:
        self._socket.close()

    def greet(self, username: str | None, password: Secret | None, db: int) -> None:
        if password is not None:
            self._order(b"AUTH", *([username.encode()] if username else []), password.reveal().encode())
        if db:
            self._order(b"SELECT", str(db).encode())

    def _order(self, *words: bytes) -> None:
        answer = self.ask(*words)
        if isinstance(answer, ReplyError):
            raise _refused(answer)

    def ask(self, *words: bytes) -> object:
        self._socket.sendall(packed(words))
        while True:
            for answer in self._answers:
                return answer
            data = self._socket.recv(CHUNK)
            if not data:
                raise EOFError
            self._answers.feed(data)
