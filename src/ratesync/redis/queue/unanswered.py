"""Settlements whose answer never came."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from attrs import define, field

from ratesync.model.work import Settlement

MOST = 100
"""Calls that are remembered. The server remembers what it answered for a minute."""

Call: TypeAlias = "tuple[str, tuple[int, ...]]"
Outcomes: TypeAlias = "list[tuple[object, ...]]"


@define(eq=False)
class Unanswered:
    """The names of calls that may have been carried out. Made again under the same name, a call gets the same answer.

    Under another one it would be refused: its leases are settled already. So each answered call has a name of its own.
    """

    _names: dict[Call, tuple[Outcomes, str]] = field(factory=dict[Call, "tuple[Outcomes, str]"], init=False)

    @contextmanager
    def naming(self, worker: str, settlements: Sequence[Settlement], fresh: str) -> Generator[str]:
        """The name for a call: the one of before if just that was not answered, else ``fresh``."""
        call = worker, tuple(settlement.lease.token for settlement in settlements)
        outcomes: Outcomes = [settlement[1:] for settlement in settlements]
        known, name = self._names.pop(call, (outcomes, fresh)) if self._names else (outcomes, fresh)
        if known != outcomes:
            name = fresh
        try:
            yield name
        except BaseException:
            if len(self._names) >= MOST:
                del self._names[next(iter(self._names))]
            self._names[call] = outcomes, name
            raise
