"""Many processes write the same keys: none of what they write is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import anyio

from ratesync.model.stored import Stored
from ratesync.postgres import PostgresStateStore
from tests.servers.postgres_server import Postgres

PROCESSES, TASKS, ROUNDS = 3, 4, 10
KEYS = [f"account{number}" for number in range(4)]

WORKER = """
import random, sys, anyio
from ratesync.errors import StateConflict
from ratesync.model.stored import Write
from ratesync.postgres import PostgresStateStore

url, schema, tasks, rounds, *keys = sys.argv[1:]
seed = random.Random(url)

async def move(store):
    '''Take one from an account and give it to another; the account is deleted while it is empty.'''
    source, target = seed.sample(keys, 2)
    while True:
        found = await store.load([source, target, "moves"])
        held = [0 if stored is None else int(stored.value) for stored in found]
        revisions = [0 if stored is None else stored.revision for stored in found]
        after = [held[0] - 1, held[1] + 1, held[2] + 1]
        names = [source, target, "moves"]
        writes = [
            Write(name, b"%d" % value if value else None, if_revision=revision)
            for name, value, revision in zip(names, after, revisions)
        ]
        try:
            await store.commit(writes)
            return
        except StateConflict:
            await anyio.sleep(seed.uniform(0, 0.002))

async def moves(store):
    for _ in range(int(rounds)):
        await move(store)

async def main():
    store = PostgresStateStore.from_url(url, schema=schema)
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    async with anyio.create_task_group() as group:
        for _ in range(int(tasks)):
            group.start_soon(moves, store)
    await store.close()

anyio.run(main)
"""


async def all_of(url: str, schema: str) -> Sequence[Stored]:
    store = PostgresStateStore.from_url(url, schema=schema)
    await store.open()
    found = await store.scan("")
    await store.close()
    return found


def test_what_many_processes_move_about_is_neither_lost_nor_doubled(shared_postgres: Postgres, schema: str) -> None:
    command = [sys.executable, "-c", WORKER, shared_postgres.url, schema, str(TASKS), str(ROUNDS), *KEYS]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("\n", timeout=40) for process in processes]
    assert [said for said, _ in answers] == [""] * PROCESSES
    assert [process.returncode for process in processes] == [0] * PROCESSES
    found = {stored.key: stored for stored in anyio.run(all_of, shared_postgres.url, schema)}
    moves = found.pop("moves")
    assert int(moves.value) == moves.revision == PROCESSES * TASKS * ROUNDS
    assert sum(int(stored.value) for stored in found.values()) == 0
    assert all(int(stored.value) for stored in found.values())
