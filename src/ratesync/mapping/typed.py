"""A mapping whose views are instances of an attrs class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from ratesync.errors import ConfigurationError
from ratesync.mapping.mapping import Mapping as Lens
from ratesync.mapping.strict_class import StrictClass
from ratesync.model.operation import Fields

V = TypeVar("V")


class TypedMapping(Generic[V]):
    """A mapping that gives and takes instances of an attrs class.

    Each attribute is a name of the view. Nothing is made to fit: an ``int`` takes an int, a ``Decimal`` the text of
    one, ``date``, ``time`` and ``datetime`` ISO 8601, an Enum its value, ``tuple[str, ...]`` a list, ``str | None``
    also None. An attribute of type ``... | Missing`` with :data:`~ratesync.mapping.MISSING` as its default may be
    missing; one with another default has that where it is missing.

    :raises ConfigurationError: the class has an attribute that no line has, or lacks a name that a line has.
    """

    def __init__(self, mapping: Lens, view: type[V]) -> None:
        strict = StrictClass(view)
        names = strict.names
        if unknown := sorted(names - mapping.names):
            raise ConfigurationError(f"{view.__qualname__} has {', '.join(unknown)}, which no line of the mapping has")
        if lacking := sorted(mapping.names - names):
            raise ConfigurationError(f"{view.__qualname__} lacks {', '.join(lacking)}, which the mapping reads")
        self.mapping = mapping
        self.view = view
        self._strict = strict

    def get(self, record: Fields) -> V:
        """The view of a provider's record.

        :raises InvalidFields: a value is not of the attribute's type, or cannot be translated.
        """
        return self.structure(self.mapping.get(record))

    def put(self, record: Fields, view: V) -> dict[str, Any]:
        """As :meth:`Mapping.put`."""
        return self.mapping.put(record, self.unstructure(view))

    def create(self, view: V) -> dict[str, Any]:
        """As :meth:`Mapping.create`."""
        return self.mapping.create(self.unstructure(view))

    def patch(self, record: Fields, view: V) -> dict[str, Any]:
        """As :meth:`Mapping.patch`. What can only be read is left out."""
        return self.mapping.patch(record, self.fields(view))

    def canon(self, view: V) -> V:
        """As :meth:`Mapping.canon`; what only goes one way stays as it is."""
        plain = self.unstructure(view)
        return self.structure(plain | self.mapping.canon(plain))

    def fields(self, view: V) -> dict[str, Any]:
        """What to submit as the fields of an operation: what may be sent, without what is missing."""
        return {name: value for name, value in self.unstructure(view).items() if name not in self.mapping.read_only}

    def structure(self, view: Mapping[str, Any]) -> V:
        """An instance for a view as a dict.

        :raises InvalidFields: with every attribute that cannot have its value.
        """
        return self._strict.structure(view)

    def unstructure(self, view: V) -> dict[str, Any]:
        """The view as a dict."""
        return self._strict.unstructure(view)
