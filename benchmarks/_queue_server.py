"""What the server of the queue benchmark spent."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from attrs import define, field, frozen


@frozen
class Spent:
    """Totals since the server started, or the difference of two."""

    cpu: float
    """Seconds."""
    commands: int
    """Those that scripts call included."""
    reads: int
    """How often it found something to read on a connection: once for a command or a pipeline, unless it is long."""

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.cpu - other.cpu, self.commands - other.commands, self.reads - other.reads)


@define
class Meter:
    """Reads a server's totals over one connection of its own."""

    url: str
    _client: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        redis: Any = import_module("redis")
        self._client = redis.Redis.from_url(self.url)

    def read(self) -> Spent:
        """The totals now; looking costs two commands."""
        cpu: dict[str, float] = self._client.info("cpu")
        stats: dict[str, int] = self._client.info("stats")
        return Spent(
            cpu["used_cpu_user"] + cpu["used_cpu_sys"],
            stats["total_commands_processed"],
            stats["total_reads_processed"],
        )

    def cpu(self) -> float:
        """Seconds of CPU until now."""
        cpu: dict[str, float] = self._client.info("cpu")
        return cpu["used_cpu_user"] + cpu["used_cpu_sys"]

    def looking(self) -> float:
        """Seconds of CPU that looking costs, to be taken off."""
        before = self.cpu()
        return self.cpu() - before

    def memory(self) -> int:
        """Bytes that the server's data take."""
        return int(self._client.info("memory")["used_memory"])

    def empty(self) -> None:
        """Forget everything: data, functions and scripts."""
        self._client.flushall()
        self._client.function_flush()
        self._client.script_flush()
