"""Worker processes that die, stand still and are replaced, and a Redis that is killed and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from attrs import define, field

from tests.chaos.ledger import Death
from tests.servers.valkey_server import Valkey

ROOT = Path(__file__).parents[2]


@define
class Fleet:
    """So many workers, at any time."""

    valkey: Valkey
    log: Path
    lease_seconds: float
    random: Random
    size: int
    at_once: int | None = None
    """Calls that all may make at once together. Default: each as many as it likes."""
    deaths: list[Death] = field(factory=list[Death], init=False)
    server_deaths: list[float] = field(factory=list[float], init=False)
    kills: int = field(default=0, init=False)
    _workers: list[subprocess.Popen[str]] = field(factory=list[subprocess.Popen[str]], init=False)

    def start(self) -> None:
        """Start what is missing of the workers, and wait until they work."""
        new = [self._spawn() for _ in range(self.size - len(self._workers))]
        for worker in new:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n", "a worker did not start"
        self._workers += new

    def _spawn(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.chaos.worker", self.valkey.url, str(self.log), str(self.lease_seconds)]
        if self.at_once is not None:
            command.append(str(self.at_once))
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def kill_worker(self) -> None:
        """Kill one with -9."""
        worker = self._workers.pop(self.random.randrange(len(self._workers)))
        worker.kill()
        self.deaths.append(Death(worker.pid, time.monotonic()))
        worker.communicate()
        self.kills += 1

    def stop_worker(self) -> int:
        """Let one stand still; its process id."""
        worker = self.random.choice(self._workers)
        os.kill(worker.pid, signal.SIGSTOP)
        self.deaths.append(Death(worker.pid, time.monotonic()))
        return worker.pid

    def wake(self, pid: int) -> None:
        """Let it go on."""
        os.kill(pid, signal.SIGCONT)

    def kill_server(self) -> None:
        """Kill the Redis with -9, and start it again on what its disk has."""
        self.valkey.kill()
        self.server_deaths.append(time.monotonic())
        time.sleep(self.random.uniform(0, 0.5))
        self.valkey.start()
        self.server_deaths.append(time.monotonic())

    def end(self) -> None:
        """End all workers."""
        while self._workers:
            worker = self._workers.pop()
            worker.kill()
            worker.communicate()
