"""One cell of the quota benchmark: a server, its rules, and one limiter in one or several client processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from attrs import evolve, frozen

from benchmarks._quota_client import ClientOptions
from benchmarks._quota_limiters import TOLD
from benchmarks._quota_redis import command_count
from benchmarks._quota_server import ServerOptions
from benchmarks._quota_windows import Rules, fairness

CALLERS = 200
LEAD = 0.5
"""Seconds that clients go on after the measured time, which begins a little later than they do."""


@frozen(kw_only=True)
class Cell:
    """What is measured."""

    name: str
    rules: Rules
    is_wide: bool = False
    processes: int = 1
    seconds: float = 20.0
    restart_at: float | None = None
    """Seconds after the start at which all client processes are killed and new ones take over."""
    contestants: tuple[str, ...]


@frozen(kw_only=True)
class Result:
    """What came of one run of a cell."""

    share: float
    pace: float
    accepted: int
    refused: int
    refused_later: int
    peak: int
    fairness: float
    longest_wait: float
    cpu_us: float
    """CPU microseconds of the clients for each accepted call."""
    refused_at: list[float]
    redis_calls: float | None = None
    """Scripts that Redis ran for each accepted call."""

    @property
    def reached(self) -> float:
        """Percent of the quota that was reached: the lower one of share and pace."""
        return min(self.share, self.pace)


def run_cell(cell: Cell, contestant: str, redis: str | None, seed: int, log: str | None = None) -> Result:
    """Run it once."""
    told = contestant in TOLD
    options = ServerOptions(rules=cell.rules, seconds=cell.seconds, tells=told, is_wide=cell.is_wide, seed=seed)
    shared = redis if cell.processes > 1 else None
    if shared is not None:
        command_count(shared, anew=True)
    with _process("benchmarks._quota_server", options.as_json()) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[1])
        client = ClientOptions(
            contestant=contestant,
            port=port,
            callers=CALLERS // cell.processes,
            seconds=cell.seconds + LEAD,
            redis=shared,
            server=options.as_json(),
        )
        found = _restarted(client, cell, port) if cell.restart_at is not None else _finished(client, cell.processes)
        content = _ask(port, b"report\n")
    accepted_at = content.pop("accepted_at")
    if log:
        with open(log, "a", encoding="utf-8") as lines:  # noqa: PTH123
            entry = {"cell": cell.name, "contestant": contestant, "accepted_at": accepted_at}
            lines.write(json.dumps(entry | content) + "\n")
    counts = [count for each in found for count in each["accepted"]]
    total = max(1, sum(counts))
    errors = sorted({error for each in found for error in each["errors"]})
    if errors:
        print(f"{cell.name}, {contestant}: {errors}", file=sys.stderr)
    return Result(
        **content,
        fairness=fairness(counts),
        longest_wait=max(each["longest_wait"] for each in found),
        cpu_us=sum(each["cpu"] for each in found) / total * 1e6,
        redis_calls=None if shared is None else command_count(shared) / total,
    )


@contextmanager
def _process(module: str, options: str) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", module, options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _clients(options: ClientOptions, count: int) -> Generator[list[subprocess.Popen[str]]]:
    """Client processes that are connected and wait for the word. None outlives the context."""
    command = [sys.executable, "-m", "benchmarks._quota_client", options.as_json()]
    clients = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == "READY\n", "a client did not start; see above"
        yield clients
    finally:
        for client in clients:
            client.kill()
            client.communicate()


def _go(clients: list[subprocess.Popen[str]]) -> None:
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()


def _results(clients: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for client in clients:
        assert client.stdout is not None
        found.append(json.loads(client.stdout.readline()))
    return found


def _finished(options: ClientOptions, count: int) -> list[dict[str, Any]]:
    with _clients(options, count) as clients:
        _go(clients)
        return _results(clients)


def _restarted(options: ClientOptions, cell: Cell, port: int) -> list[dict[str, Any]]:
    """Kill the first clients in the middle of a window; the next ones start at once. Theirs is the result."""
    assert cell.restart_at is not None
    later = evolve(options, seconds=options.seconds - cell.restart_at)
    with _clients(options, cell.processes) as first, _clients(later, cell.processes) as second:
        _go(first)
        time.sleep(cell.restart_at)
        for client in first:
            client.kill()
        _ask(port, b"mark\n")
        _go(second)
        return _results(second)


def _ask(port: int, line: bytes) -> Any:
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        connection.sendall(line)
        answer = answers.readline()
        return json.loads(answer) if answer.startswith(b"{") else answer
