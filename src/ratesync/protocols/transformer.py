"""The contract of a transformer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

from ratesync.model.operation import Fields, Kind


@runtime_checkable
class Transformer(Protocol):
    """Translates a record's fields between the host's terms and the provider's, both ways.

    Both methods are pure, quick and deterministic: they run on the event loop, and may run again for the same operation
    on a later attempt, where they must give the same. They must not change their argument. Whatever they raise makes a
    dead letter of the one operation; nothing else suffers.
    """

    def to_external(self, fields: Fields, kind: Kind) -> Fields:
        """The provider's fields for a write of ``kind``. An update gives only what the given fields touch."""
        ...

    def to_local(self, fields: Fields) -> Fields:
        """The host's fields for a record that the provider sent."""
        ...


@runtime_checkable
class ChecksFields(Protocol):
    """A transformer that also looks at the fields when an operation is submitted, so that a mistake is told at once."""

    def check_at_submit(self, fields: Fields, kind: Kind, path: str) -> None:
        """Tell what cannot be translated.

        :param path: of the fields, for the error.
        :raises InvalidPayload: names the places below it.
        """
        ...


@runtime_checkable
class NamesPaths(Protocol):
    """A transformer that tells which of the provider's fields it uses, so that changes of a schema can be judged."""

    @property
    def paths(self) -> Collection[str]:
        """Every place of the provider's record that is read or written, as dotted paths."""
        ...

    def without(self, paths: Collection[str]) -> Transformer:
        """The same transformer, which neither reads nor writes these fields, nor anything in or around them."""
        ...
