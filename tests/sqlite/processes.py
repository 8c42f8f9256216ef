"""Programs that tests run in processes of their own, to kill or to stop them."""

from __future__ import annotations

import subprocess
import sys

LIFE = """
import sys, anyio
from ratesync.sqlite import SqliteQueue
from ratesync.testing.queue_actions import complete, items, submit, take

async def main(path, worker, first):
    queue = SqliteQueue(path, lease_seconds=0.3, mailbox_max=2)
    await queue.open()
    number = first
    while True:
        names = " ".join(f"{number + n:06}" for n in range(4))
        await submit(queue, *items(names, f"k{number // 4 % 5}"))
        print("accepted", names, flush=True)
        number += 4
        for lease in await take(queue, worker, calls=1, size=3):
            print("called", *(item.id for item in lease.items), flush=True)
            await complete(queue, [lease], worker)
            print("settled", *(item.id for item in lease.items), flush=True)

anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""
"""Submits, calls and settles for ever, and says so. Of a key, what comes later has the higher name."""

WORKER = """
import sys, anyio
from ratesync.sqlite import SqliteQueue
from ratesync.testing.queue_actions import complete, names, take

async def main():
    queue = SqliteQueue(sys.argv[1])
    await queue.open()
    while taken := await take(queue, sys.argv[2], calls=1, size=5):
        print(names(taken), flush=True)
        await complete(queue, taken, sys.argv[2])
    await queue.close()

anyio.run(main)
"""

PAUSED = """
import sys, anyio
from ratesync.sqlite import SqliteQueue
from ratesync.testing.queue_actions import ended, settle, take_one

async def main():
    queue = SqliteQueue(sys.argv[1], lease_seconds=0.5)
    await queue.open()
    lease = await take_one(queue, "paused")
    print("claimed", flush=True)
    sys.stdin.readline()
    print(await queue.extend("paused", [lease]), await settle(queue, ended(lease), "paused"), flush=True)
    await queue.close()

anyio.run(main)
"""

HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("DELETE FROM item")
print("locked", flush=True)
sys.stdin.readline()
"""
"""Deletes everything and never commits."""

OPENER = """
import sys, anyio
from ratesync.sqlite import SqliteQueue
from ratesync.testing.queue_actions import item, submit

async def main():
    queue = SqliteQueue(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    await queue.open()
    await submit(queue, item(sys.argv[2]))
    await queue.close()

anyio.run(main)
"""

LIMITED = """
import resource, signal, sys, anyio
from ratesync.errors import EnqueueUncertain
from ratesync.sqlite import SqliteQueue
from ratesync.sqlite.errors import FileError
from ratesync.testing.queue_actions import complete, count, item, submit, take

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    queue = SqliteQueue(sys.argv[1])
    await queue.open()
    await submit(queue, item("a"))
    limit(400_000)
    try:
        await submit(queue, *(item(f"b{number}", body=bytes(10_000)) for number in range(100)))
    except (FileError, EnqueueUncertain) as error:
        print(type(error).__name__, error, flush=True)
    limit(resource.RLIM_INFINITY)
    assert (await count(queue)).pending == 1
    await complete(queue, await take(queue))
    await submit(queue, item("c"))
    await queue.close()

anyio.run(main)
"""

FORBIDDEN = """
import os, sys, anyio
from ratesync.sqlite import SqliteQueue
from ratesync.sqlite.errors import FileError
from ratesync.testing.queue_actions import item, submit

async def main():
    if os.getuid() == 0:
        os.setuid(65534)
    queue = SqliteQueue(sys.argv[1])
    try:
        await queue.open()
        await submit(queue, item("a"))
    except FileError as error:
        print(type(error).__name__, error)

anyio.run(main)
"""


FORKED = """
import os, sys, anyio
from ratesync.errors import QueueError
from ratesync.model.lane import Selector
from ratesync.sqlite import SqliteQueue
from ratesync.testing.queue_actions import item, submit

queue = SqliteQueue(sys.argv[1])
anyio.run(queue.open)

async def child():
    try:
        await submit(queue, item("child"))
    except QueueError as error:
        print(error, flush=True)
    with anyio.move_on_after(10) as scope:
        await queue.close()
    print("still open" if scope.cancelled_caught else "closed", flush=True)
    try:
        await SqliteQueue(sys.argv[1]).open()
    except QueueError as error:
        print(type(error).__name__, flush=True)
    other = SqliteQueue(sys.argv[1] + ".other")
    await other.open()
    await submit(other, item("child"))
    print((await other.stats(Selector())).available, "of another file", flush=True)
    await other.close()

if not os.fork():
    anyio.run(child)
    os._exit(0)
os.wait()
anyio.run(submit, queue, item("parent"))
anyio.run(queue.close)
"""
"""Uses after a fork what was opened before, on both sides."""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start one of the programs."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    """Its next line; empty when it has ended."""
    assert process.stdout is not None
    return process.stdout.readline()


def tell(process: subprocess.Popen[str]) -> None:
    """Let it go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
