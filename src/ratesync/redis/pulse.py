"""A sign of life from any thread, over a blocking connection of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress

from ratesync.errors import QueueError
from ratesync.redis.address import Address, Kind
from ratesync.redis.errors import ServerAway

SECONDS = 2.0
"""For each step: to connect, and for an answer."""
HOPS = 4
"""Redirections that are followed."""


class Pulse:
    """Connects when it is first needed, and stays connected. Safe to use from several threads."""

    def __init__(self, address: Address | None, ssl_context: ssl.SSLContext | None) -> None:
        self._address = address
        self._ssl_context = ssl_context
        self._lock = threading.Lock()
        self._wire: _Wire | None = None

    def ask(self, *words: bytes) -> object:
        """Send a command and wait for its answer; once more on a new connection if the old one broke.

        :raises QueueError: there was none.
        """
        address = self._address
        if address is None:
            raise QueueError("a client of the host's cannot be used from a thread: give the server a URL")
        with self._lock:
            try:
                return self._ask(address, words)
            except (OSError, EOFError, ValueError) as error:
                self.close()
                raise ServerAway(f"no sign of life was given: {type(error).__name__}.") from error

    def close(self) -> None:
        """Let go of the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _ask(self, address: Address, words: tuple[bytes, ...]) -> object:
        for _ in range(HOPS):
            if self._wire is None:
                self._wire = self._connect(address, *self._place(address))
            try:
                answer = self._wire.ask(*words)
            except (OSError, EOFError):
                self.close()
                continue
            if isinstance(answer, Refused) and answer.args[0].startswith(("MOVED", "ASK")):
                host, _, port = answer.args[0].split()[2].rpartition(":")
                self.close()
                self._wire = self._connect(address, host, int(port))
                continue
            if isinstance(answer, Refused) and answer.args[0].startswith("READONLY"):
                self.close()
                continue
            if isinstance(answer, Refused):
                raise ServerAway(f"no sign of life was given: {answer.args[0].split()[0]}.")
            return answer
        raise EOFError

    def _place(self, address: Address) -> tuple[str, int]:
        if address.kind is not Kind.SENTINEL:
            return address.hosts[0] if address.hosts else ("", 0)
        for host, port in address.hosts:
            with suppress(OSError, EOFError):
                wire = _Wire(self._socket(address, host, port))
                try:
                    wire.greet(address.sentinel_username, address.sentinel_password, 0)
                    found = wire.ask(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", address.service.encode())
                finally:
                    wire.close()
                match found:
                    case [bytes() as name, bytes() as number]:
                        return name.decode(), int(number)
                    case _:
                        continue
        raise OSError("no sentinel knows the primary")

    def _connect(self, address: Address, host: str, port: int) -> _Wire:
        wire = _Wire(self._socket(address, host, port))
        wire.greet(address.username, address.password, address.db)
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


class Refused(Exception):
    """The server's answer was an error."""


class _Wire:
    """A connection that speaks RESP 2, one command at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file = connection.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def greet(self, username: str | None, password: str | None, db: int) -> None:
        if password is not None:
            answer = self.ask(b"AUTH", *([username.encode()] if username else []), password.encode())
            if isinstance(answer, Refused):
                raise EOFError("the password was refused")
        if db:
            self.ask(b"SELECT", str(db).encode())

    def ask(self, *words: bytes) -> object:
        parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)]
        self._socket.sendall(b"".join(parts))
        return self._read()

    def _read(self) -> object:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return Refused(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        return rest
