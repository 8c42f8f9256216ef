"""A worker that stands still for longer than its lease: failure case 7 on a Redis."""

from __future__ import annotations

import signal

import anyio
import pytest

from ratesync.model.work import Durability
from ratesync.redis import RedisQueue, RedisServer
from ratesync.testing.queue_actions import ended, item, only, settle, submit, take_one
from tests.servers.valkey_server import Valkey
from tests.sqlite.processes import said, start, tell

pytestmark = pytest.mark.anyio

PAUSED = """
import sys, threading, anyio
from ratesync.redis import RedisQueue, RedisServer
from ratesync.testing.queue_actions import ended, settle, take_one

async def main():
    queue = RedisQueue(RedisServer.from_url(sys.argv[1]), lease_seconds=0.5)
    await queue.open()
    lease = await take_one(queue, "paused")
    told = threading.Event()

    def beat():
        while not told.wait(0.05):
            queue.keep_alive("paused")

    beating = threading.Thread(target=beat)
    beating.start()
    print("claimed", flush=True)
    sys.stdin.readline()
    answers = await queue.extend("paused", [lease]), await settle(queue, ended(lease), "paused")
    told.set()
    beating.join()
    print(*answers, flush=True)
    await queue.close()

anyio.run(main)
"""
"""Gives signs of life from a thread while it stands in its call."""


async def test_case_7_a_worker_that_was_stopped_past_its_lease_cannot_settle(valkey: Valkey) -> None:
    queue = RedisQueue(RedisServer.from_url(valkey.url, durability=Durability.PROCESS), lease_seconds=0.5)
    await queue.open()
    await submit(queue, item("a"))
    with start(PAUSED, valkey.url) as paused:
        assert said(paused) == "claimed\n"
        paused.send_signal(signal.SIGSTOP)
        await anyio.sleep(0.6)
        lease = await take_one(queue, "here")
        assert only(lease).lapses == 1
        paused.send_signal(signal.SIGCONT)
        tell(paused)
        assert said(paused) == "[False] False\n"
    assert await settle(queue, ended(lease), "here"), "who holds it settles it"
    await queue.close()
