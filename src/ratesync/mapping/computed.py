"""What is computed from the rest of a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from attrs import field, frozen, validators

from ratesync.mapping.part import Data, Part
from ratesync.mapping.path import parse_path


@frozen
class Computed:
    """A value that one side has only as computed from the other. It goes one way.

    - "push": ``target`` is a path in the provider's record; ``from_`` takes the canonical view. It is sent when what is
      computed changes: a record put back as it was keeps what it has. :meth:`Mapping.update`, which sees a part of the
      view only, does not send it.
    - "pull": ``target`` is a name in the view; ``from_`` takes the provider's record.

    ``from_`` is pure and must not change its argument.
    """

    target: str
    """Where it goes: a path in the provider's record, or a name in the view."""
    from_: Callable[[Data], Any]
    """Computes it: from the canonical view, or from the provider's record."""
    direction: Literal["push", "pull"] = field(validator=validators.in_(("push", "pull")), kw_only=True)
    """"push" to the provider, or "pull" from it."""

    def compile(self) -> Part:
        """Make the functions of this line."""
        name, compute = self.target, self.from_
        if self.direction == "push":
            return Part(name, (), (parse_path(name),), compute=compute)

        def read(record: Data, view: Data) -> None:
            view[name] = compute(record)

        return Part(name, (name,), (), read=read)
