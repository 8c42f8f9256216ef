"""Live progress in the terminal, or plain lines now and then where there is none.

    with LiveProgress() as progress:
        while ...:
            progress.show([ConnectionProgress(...), ...], elapsed=seconds_since_start)

It is told plain numbers and knows no engine. Call `show` a few times a second; it decides what to draw.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from attrs import frozen
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

PLAIN_EVERY = 5.0
SPEED_OVER = 10.0


@frozen
class QuotaProgress:
    """One quota: at most `permits` per `per` seconds, of which `used` are taken now."""

    permits: float
    per: float
    used: float

    @property
    def label(self) -> str:
        """For people: `12/40 per 1 s`."""
        return f"{self.used:,.0f}/{self.permits:,.0f} per {self.per:g} s"


@frozen(kw_only=True)
class ConnectionProgress:
    """The state of one connection: counts of operations, of attempts made again, and of answers 429."""

    name: str
    done: int
    total: int
    queued: int
    retries: int
    refused: int
    quotas: tuple[QuotaProgress, ...]


class LiveProgress:
    """Shows connection after connection, redrawn in place on a terminal; else a line each every 5 seconds."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._printed_at = -PLAIN_EVERY
        self._speeds: dict[str, Speed] = {}

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, connections: Sequence[ConnectionProgress], *, elapsed: float) -> None:
        """Show the state at `elapsed` seconds since the start. A finished state is always shown."""
        for connection in connections:
            self._speeds.setdefault(connection.name, Speed()).note(elapsed, connection.done)
        if self._live is not None:
            self._live.update(self._table(connections, elapsed), refresh=True)
        elif elapsed - self._printed_at >= PLAIN_EVERY or all(row.done >= row.total for row in connections):
            self._printed_at = elapsed
            for connection in connections:
                self._console.print(self._line(connection, elapsed), highlight=False, soft_wrap=True)

    def _table(self, connections: Sequence[ConnectionProgress], elapsed: float) -> Table:
        table = Table(title=f"{elapsed:,.0f} s", expand=True)
        for heading in ("connection", "", "done", "queued", "retries", "429s", "quota used", "ETA"):
            table.add_column(heading, justify="left" if heading in ("connection", "", "quota used") else "right")
        for row in connections:
            table.add_row(
                row.name,
                ProgressBar(total=row.total, completed=row.done, width=20),
                f"{row.done:,}/{row.total:,}",
                f"{row.queued:,}",
                f"{row.retries:,}",
                f"{row.refused:,}",
                "\n".join(quota.label for quota in row.quotas),
                self._eta(row),
            )
        return table

    def _line(self, row: ConnectionProgress, elapsed: float) -> str:
        quotas = ", ".join(quota.label for quota in row.quotas)
        return (
            f"{elapsed:6.1f} s  {row.name}: {row.done:,}/{row.total:,} done, {row.queued:,} queued, "
            f"{row.retries:,} retries, 429s {row.refused:,}, quota used {quotas}, ETA {self._eta(row)}"
        )

    def _eta(self, row: ConnectionProgress) -> str:
        speed = self._speeds[row.name].per_second
        if row.done >= row.total:
            return "done"
        return f"{(row.total - row.done) / speed:,.0f} s" if speed > 0 else "?"


class Speed:
    """Operations done per second over the last ten seconds."""

    def __init__(self) -> None:
        self._noted: deque[tuple[float, int]] = deque()

    def note(self, elapsed: float, done: int) -> None:
        """`done` operations are done at `elapsed` seconds."""
        self._noted.append((elapsed, done))
        while self._noted[0][0] < elapsed - SPEED_OVER:
            self._noted.popleft()

    @property
    def per_second(self) -> float:
        """The speed now; 0.0 while it is not known."""
        (started, before), (elapsed, done) = self._noted[0], self._noted[-1]
        return (done - before) / (elapsed - started) if elapsed > started else 0.0
