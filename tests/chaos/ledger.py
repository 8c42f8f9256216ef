"""What a provider saw, kept where no kill of a worker can reach it, and what must hold of it.

Each worker appends a line when a call begins for an operation and one when it ends. Instants are those of the machine's
monotonic clock, which all of its processes share.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import inf
from pathlib import Path

from attrs import define, field, frozen


@frozen
class Attempt:
    """A call for one operation. ``ended_at`` is None if its worker died in it."""

    operation: str
    key: str
    number: int
    """The operation's place among those of its key."""
    worker: int
    """The process."""
    started_at: float
    ended_at: float | None = None


@frozen
class Death:
    """A process was killed, or stood still from an instant on."""

    worker: int
    at: float


@define
class Log:
    """A file of attempts."""

    path: Path
    _file: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, operation: str, key: str, number: int, at: float) -> None:
        """Append a line, in one piece."""
        os.write(self._file, (json.dumps([what, operation, key, number, os.getpid(), at]) + "\n").encode())


def attempts_in(lines: Iterable[str]) -> list[Attempt]:
    """Put beginnings and ends together, in the order of the beginnings."""
    under_way: dict[tuple[str, int], Attempt] = {}
    found: list[Attempt] = []
    for line in lines:
        what, operation, key, number, worker, at = json.loads(line)
        if what == "start":
            attempt = Attempt(operation, key, number, worker, at)
            under_way[operation, worker] = attempt
            found.append(attempt)
        else:
            attempt = under_way.pop((operation, worker))
            found[found.index(attempt)] = Attempt(operation, key, number, worker, attempt.started_at, at)
    return sorted(found, key=lambda attempt: attempt.started_at)


@frozen
class Account:
    """How it went."""

    lost: list[str]
    """Operations that were accepted and never carried out."""
    unexplained: list[str]
    """Operations that were carried out again although nobody who held them had died, nor the server."""
    disordered: list[str]
    """Keys of which a call began for an operation after one had begun for a later operation."""
    overlapping: list[str]
    """Keys that two living workers were at at once."""
    repeated: int
    """Operations that were carried out more than once, explained or not."""
    late: int
    """Calls that began although their worker had stood still before. They may come out of order: they are fenced."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.unexplained or self.disordered or self.overlapping)


def account(
    accepted: Mapping[str, tuple[str, int]],
    attempts: Sequence[Attempt],
    deaths: Sequence[Death],
    server_deaths: Sequence[float],
    grace: float,
) -> Account:
    """Account for every operation.

    ``accepted`` has key and number of each. An operation may be carried out again if its worker died, or stood still,
    at most ``grace`` seconds after its end (it may not have been settled by then), or the server was killed then.
    """
    by_operation: defaultdict[str, list[Attempt]] = defaultdict(list)
    by_key: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_operation[attempt.operation].append(attempt)
        by_key[attempt.key].append(attempt)
    ended = {attempt.operation for attempt in attempts if attempt.ended_at is not None}

    def is_explained(attempt: Attempt) -> bool:
        until = (attempt.started_at if attempt.ended_at is None else attempt.ended_at) + grace
        died_at = _end(attempt, deaths) if attempt.ended_at is None else inf
        return (
            died_at < inf
            or any(death.worker == attempt.worker and attempt.started_at <= death.at <= until for death in deaths)
            or any(attempt.started_at - grace <= at <= until for at in server_deaths)
        )

    return Account(
        lost=sorted(accepted.keys() - ended),
        unexplained=sorted(
            operation for operation, tries in by_operation.items() if not all(map(is_explained, tries[:-1]))
        ),
        disordered=sorted(key for key, tries in by_key.items() if _is_disordered(tries, deaths)),
        overlapping=sorted(key for key, tries in by_key.items() if _overlaps(tries, deaths)),
        repeated=sum(len(tries) > 1 for tries in by_operation.values()),
        late=sum(_is_late(attempt, deaths) for attempt in attempts),
    )


def most_at_once(attempts: Sequence[Attempt], deaths: Sequence[Death]) -> int:
    """The most calls that were under way at once, without those that are late or whose worker had died."""
    steps = sorted(
        step
        for attempt in attempts
        if not _is_late(attempt, deaths)
        for step in ((attempt.started_at, 1), (_end(attempt, deaths), -1))
    )
    return max(accumulate(change for _, change in steps), default=0)


def _is_late(attempt: Attempt, deaths: Sequence[Death]) -> bool:
    return any(death.worker == attempt.worker and death.at < attempt.started_at for death in deaths)


def _is_disordered(tries: Sequence[Attempt], deaths: Sequence[Death]) -> bool:
    numbers = [attempt.number for attempt in tries if not _is_late(attempt, deaths)]
    return numbers != sorted(numbers)


def _end(attempt: Attempt, deaths: Sequence[Death]) -> float:
    """When the call ended, by itself or because its worker died or stood still; endless if nothing tells."""
    ends = [death.at for death in deaths if death.worker == attempt.worker and death.at >= attempt.started_at]
    return min([inf if attempt.ended_at is None else attempt.ended_at, *ends])


def _overlaps(tries: Sequence[Attempt], deaths: Sequence[Death]) -> bool:
    """Whether a call began while one of another worker was under way that had neither died nor stood still."""
    for earlier in tries:
        end = _end(earlier, deaths)
        if end < inf and any(
            later.worker != earlier.worker and earlier.started_at < later.started_at < end for later in tries
        ):
            return True
    return False
