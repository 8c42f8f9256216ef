"""A field that holds the id of another record."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import min_len


@frozen
class Reference:
    """A field that holds the id of a record of another resource, or a list of such ids.

    On the host's side it holds ids of the host's, at the provider those of the provider's.
    """

    resource: str = field(validator=min_len(1))
    """The resource of the same account whose records are meant. It has a binding of its own."""
    required: bool = False
    """Never make a record without it. Default: a record whose other one is not to be had is made without it, and gets
    it later."""

    @classmethod
    def to(cls, target: Reference | str) -> Reference:
        """The reference, or one to the resource of that name."""
        return target if isinstance(target, Reference) else cls(target)
