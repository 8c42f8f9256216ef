"""Cases 54 and 55 of the failure catalogue with real processes: eight share one single-use refresh token."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from ratesync.http import FernetCipher, StateVault, Tokens
from ratesync.model.secret import Secret
from ratesync.sqlite import SqliteStateStore
from tests.http.oauth_worker import CALLS, KEY, NAME, TASKS
from tests.servers.oauth_server import running_oauth_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WORKERS = 8
ROUNDS = 4


@pytest.fixture
def anyio_backend() -> str:
    """The processes run on asyncio; here is nothing to run twice."""
    return "asyncio"


@contextmanager
def running_workers(url: str, file: Path) -> Generator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "tests.http.oauth_worker", url, str(file)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)
    ]
    try:
        for worker in workers:
            assert json.loads(output(worker).readline()) == "ready"
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def output(worker: subprocess.Popen[str]) -> IO[str]:
    assert worker.stdout is not None
    return worker.stdout


def work(workers: list[subprocess.Popen[str]]) -> Counter[str]:
    """All of them at the same time; what their operations came to."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    outcomes: Counter[str] = Counter()
    for worker in workers:
        outcomes.update(json.loads(output(worker).readline()))
    return outcomes


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_cases_54_and_55_one_renewal_for_eight_processes_at_each_expiry(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    everything = Counter({"200": WORKERS * TASKS * CALLS})
    with running_oauth_server() as server:
        first = server.order("reset")
        store = SqliteStateStore(file)
        await store.open()
        vault = StateVault(store, NAME, FernetCipher(KEY))
        # Known to have run out, so that nobody even tries it.
        old = Tokens(access=Secret("old"), refresh=Secret(first["refresh_token"]), expires_at=0.0, generation=1)
        assert await vault.save(old, 0)
        with running_workers(server.url, file) as workers:
            assert work(workers) == everything
            assert server.order("seen")["grants"] == ["issued"]
            assert server.order("seen")["api"].count(401) == 0
            for _ in range(ROUNDS):
                server.order("expire")  # before its time, so that all meet a 401
                assert work(workers) == everything
        seen = server.order("seen")
        assert seen["grants"] == ["issued"] * (1 + ROUNDS)
        assert seen["api"].count(401) >= ROUNDS, "nobody met a 401, so nothing was tested"
        held = await vault.read()
        assert held.tokens is not None
        assert (held.tokens.generation, held.lock) == (2 + ROUNDS, 0)
        assert held.tokens.refresh == Secret(seen["refresh"])
        await store.close()
        assert seen["refresh"].encode() not in everything_in(tmp_path)
