"""Where an operation belongs: its lane."""

from __future__ import annotations

from typing import NamedTuple


class Lane(NamedTuple):
    """One connection at one provider: the unit of fairness, pausing and quota.

    A named tuple rather than an attrs class because it is a dictionary key in every hot path and a tuple hashes in C.
    """

    provider: str
    connection: str = "default"

    def __str__(self) -> str:
        return f"{self.provider}/{self.connection}"


class Selector(NamedTuple):
    """Which lanes a command is meant for. None means any; ``Selector()`` selects every lane."""

    provider: str | None = None
    connection: str | None = None

    def matches(self, lane: Lane) -> bool:
        """Tell whether ``lane`` is selected."""
        return (self.provider is None or self.provider == lane.provider) and (
            self.connection is None or self.connection == lane.connection
        )

    def __str__(self) -> str:
        return f"{self.provider or '*'}/{self.connection or '*'}"
