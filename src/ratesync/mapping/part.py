"""One line of a mapping, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from attrs import frozen

from ratesync.mapping.path import Path

Direction = Literal["both", "push", "pull"]
"""Which way a field goes: "push" to the provider only, "pull" from it only."""

Data = dict[str, Any]


@frozen
class Part:
    """Functions made once for a line of the mapping; None where it has no part in that direction.

    They raise :class:`~ratesync.mapping.field_error.Refused` for a value that cannot be translated.
    """

    place: str
    """Path in the provider's record, for errors of what comes in."""
    names: tuple[str, ...]
    """Names in the view."""
    paths: tuple[Path, ...]
    """Paths in the provider's record that it writes."""
    read: Callable[[Data, Data], None] | None = None
    """Takes the provider's record, and the view to fill."""
    write: Callable[[Data, Data, bool], None] | None = None
    """Takes the provider's record (a copy of what it has; empty for a create), the whole view, and whether it is a
    create."""
    touch: Callable[[Data, Data, bool], None] | None = None
    """Takes an empty record and a view of which only what is given counts, and whether the record may be new."""
    canon: Callable[[Data, Data], None] | None = None
    """Takes a view, and the canonical view to fill."""
    compute: Callable[[Data], Any] | None = None
    """For what is computed from the whole canonical view, and written to its one path."""


class Line(Protocol):
    """What a mapping is made of."""

    def compile(self) -> Part:
        """Make the functions.

        :raises ConfigurationError: the line makes no sense.
        """
        ...
