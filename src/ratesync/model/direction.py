"""Which sides of a sync are written."""

from __future__ import annotations

from enum import StrEnum

from ratesync.model.difference import Side


class Direction(StrEnum):
    """Which way changes go."""

    BOTH = "both"
    PUSH = "push"
    """From the host's side to the provider. The host's side is never written."""
    PULL = "pull"
    """From the provider to the host's side. The provider is never written."""

    @property
    def written(self) -> frozenset[Side]:
        """The sides that are written."""
        match self:
            case Direction.PUSH:
                return frozenset({Side.EXTERNAL})
            case Direction.PULL:
                return frozenset({Side.LOCAL})
            case Direction.BOTH:
                return frozenset(Side)
