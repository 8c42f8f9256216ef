"""The life of a sync between the application and Kinto, with users on both sides: processes that die, and the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field

from tests.real_sync.app import App
from tests.real_sync.collection import Collection
from tests.real_sync.users import Users
from tests.servers.kinto_server import Kinto

ROOT = Path(__file__).parents[2]
HOUR = 3600.0
MOST_PASSES = 8
_numbers = count()


@define(eq=False)
class Syncer:
    """A process that forks one for each task: see :mod:`tests.real_sync.syncer`."""

    process: subprocess.Popen[str]
    _lives: Any = field(factory=lambda: count(1))

    def begin(self, *, fatal: int = 0, passes: int = 1, later: float | None = None) -> int:
        """Have a process make passes; its id. Each is an hour later than the one before, if not said otherwise."""
        task = {"fatal": fatal, "passes": passes, "later": next(self._lives) * HOUR if later is None else later}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return int(self._line())

    def end(self) -> Mapping[str, Any]:
        """What became of it."""
        told: Mapping[str, Any] = json.loads(self._line())
        return told

    def run(self, *, fatal: int = 0) -> Mapping[str, Any]:
        """One pass in a process that may die of it."""
        self.begin(fatal=fatal)
        return self.end()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the syncer failed; its traceback is above"
        return line


@define
class Life:
    """Both sides, their users, and a sync."""

    app: App
    collection: Collection
    users: Users
    arguments: list[str]
    """Of a syncer."""

    @contextmanager
    def syncer(self) -> Generator[Syncer]:
        """A process that syncs."""
        command = [sys.executable, "-m", "tests.real_sync.syncer", *self.arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield Syncer(process)
        finally:
            process.kill()
            process.communicate()

    def finish(self, syncer: Syncer) -> list[str]:
        """Pass after pass until nothing is left to do; what is wrong then."""
        for _ in range(MOST_PASSES):
            told = syncer.run()
            if not told["left"] and not told["held"] and not set(told["actions"]) - {"none", "converge"}:
                break
        else:
            return [f"it comes to no end: {told}"]
        before = self.app.writes(), self.collection.writes()
        quiet = syncer.run()
        wrongs = self.users.wrongs(quiet["dropped"])
        if quiet["actions"] or before != (self.app.writes(), self.collection.writes()):
            wrongs.append(f"a pass without news did something: {quiet}")
        return wrongs


@contextmanager
def life(kinto: Kinto, folder: Path, state: str, seed: int) -> Generator[Life]:
    """A new application and a new collection.

    :param state: URL of the Redis that holds the sync's state; empty: a SQLite file holds it.
    """
    name = f"real-{os.getpid()}-{next(_numbers)}"
    url = kinto.create_collection("crm", name)
    app = App.made(folder / f"{name}.db")
    with kinto.client() as client:
        collection = Collection(client, url)
        users = Users(app, collection, random.Random(seed))
        arguments = [kinto.url, name, str(app.path), state or str(folder / f"{name}-state.db")]
        yield Life(app, collection, users, arguments)


def kill(pid: int) -> None:
    """With -9; it may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
