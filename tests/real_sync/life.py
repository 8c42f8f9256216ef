"""The life of a sync between the application and Kinto, with users on both sides: processes that die, and the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

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
    place: Mapping[str, str]
    """Where everything is: see :class:`tests.real_sync.syncer.Place`."""
    _lives: Any = field(factory=lambda: count(1))

    def begin(self, *, passes: int = 1, later: float | None = None, **options: Any) -> list[int]:
        """Have a process make passes; its id. Each is an hour later than the one before, if not said otherwise.

        :param options: ``processes``, which is how many, and others of :func:`tests.real_sync.syncer.live`.
        """
        later = next(self._lives) * HOUR if later is None else later
        task = {"place": self.place, "processes": 1, "fatal": 0, "passes": passes, "later": later, **options}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        pids: list[int] = json.loads(self._line())
        return pids

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
class Syncers:
    """Processes that sync. Each serves many lives, one after the other, as it takes long to start."""

    _idle: list[subprocess.Popen[str]] = field(factory=list[subprocess.Popen[str]])

    @contextmanager
    def lent(self) -> Generator[subprocess.Popen[str]]:
        """One of them, for a block that leaves it without a task. If the block fails, so it may not be."""
        process = self._idle.pop() if self._idle else _started()
        try:
            yield process
        except BaseException:
            _end(process)
            raise
        self._idle.append(process)

    def end(self) -> None:
        """End all that are not lent."""
        for process in self._idle:
            _end(process)


def _started() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.real_sync.syncer"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@define
class Life:
    """Both sides, their users, and a sync."""

    app: App
    collection: Collection
    users: Users
    place: Mapping[str, str]
    """Where everything is, for a syncer."""
    syncers: Syncers

    @contextmanager
    def syncer(self, url: str | None = None) -> Generator[Syncer]:
        """A process that syncs.

        :param url: of what stands before Kinto.
        """
        with self.syncers.lent() as process:
            yield Syncer(process, self.place if url is None else {**self.place, "url": url})

    def finish(self, syncer: Syncer) -> list[str]:
        """Pass after pass until nothing is left to do; what is wrong then."""
        told: Mapping[str, Any] = {"left": True}
        passes = 0
        while told["left"] or told["held"] or set(told["actions"]) - {"none", "converge"}:
            if passes == MOST_PASSES:
                return [f"it comes to no end: {told}"]
            told, passes = syncer.run(), passes + 1
        before = self.app.writes(), self.collection.writes()
        quiet = syncer.run()
        wrongs = self.users.wrongs(quiet["dropped"])
        if quiet["actions"] or before != (self.app.writes(), self.collection.writes()):
            wrongs.append(f"a pass without news did something: {quiet}")
        return wrongs


@contextmanager
def life(kinto: Kinto, folder: Path, state: str, seed: int, syncers: Syncers) -> Generator[Life]:
    """A new application and a new collection.

    :param state: URL of the Redis that holds the sync's state; empty: a SQLite file holds it.
    """
    name = f"real-{os.getpid()}-{next(_numbers)}"
    url = kinto.create_collection("crm", name)
    app = App.made(folder / f"{name}.db")
    with kinto.client() as client:
        collection = Collection(client, url)
        users = Users(app, collection, random.Random(seed))
        state = state or str(folder / f"{name}-state.db")
        place = {"url": kinto.url, "resource": name, "app": str(app.path), "state": state}
        yield Life(app, collection, users, place, syncers)


def kill(pids: Sequence[int]) -> None:
    """With -9."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
