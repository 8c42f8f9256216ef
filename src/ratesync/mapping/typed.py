"""A mapping whose views are instances of an attrs class."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from ratesync.errors import ConfigurationError
from ratesync.mapping.field_error import FieldError, InvalidFields, Refused, mistake
from ratesync.mapping.mapping import Mapping as Lens
from ratesync.mapping.missing import MISSING, Missing
from ratesync.model.operation import Fields

V = TypeVar("V")

_PLAIN = (str, int, float, bool)
_PARSED: dict[Any, Callable[[str], Any]] = {
    Decimal: Decimal,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
}
"""Types that JSON does not have, and how they are read from the canonical text."""


class TypedMapping(Generic[V]):
    """A mapping that gives and takes instances of an attrs class.

    Each attribute is a name of the view. Nothing is made to fit: an ``int`` takes an int, a ``Decimal`` the text of
    one, ``date``, ``time`` and ``datetime`` ISO 8601, an Enum its value, ``str | None`` also None. An attribute of type
    ``... | Missing`` with :data:`~ratesync.mapping.MISSING` as its default may be missing; one with another default has
    that where it is missing.

    :raises ConfigurationError: the class has an attribute that no line has, or lacks a name that a line has.
    """

    def __init__(self, mapping: Lens, view: type[V]) -> None:
        if not attrs.has(view):
            raise ConfigurationError(f"{view.__qualname__} is no attrs class: decorate it with attrs.frozen")
        attrs.resolve_types(view)
        names = {attribute.name for attribute in attrs.fields(view)}
        if unknown := sorted(names - mapping.names):
            raise ConfigurationError(f"{view.__qualname__} has {', '.join(unknown)}, which no line of the mapping has")
        if lacking := sorted(mapping.names - names):
            raise ConfigurationError(f"{view.__qualname__} lacks {', '.join(lacking)}, which the mapping reads")
        self.mapping = mapping
        self.view = view
        self._converter = strict_converter()

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
        try:
            return cast("V", self._converter.structure(dict(view), self.view))
        except cattrs.ClassValidationError as group:
            raise InvalidFields(_field_errors(group), path=self.view.__name__) from None

    def unstructure(self, view: V) -> dict[str, Any]:
        """The view as a dict."""
        return cast("dict[str, Any]", self._converter.unstructure(view))


def strict_converter() -> cattrs.Converter:
    """A converter that forces no value into a type, and takes no name that a class does not have."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for plain in _PLAIN:
        converter.register_structure_hook(plain, _structure_plain)
    for parsed in _PARSED:
        converter.register_structure_hook(parsed, _structure_parsed)
    converter.register_structure_hook_func(lambda cls: cls is Any, lambda value, _: value)
    converter.register_structure_hook_func(_is_enum, _structure_enum)
    converter.register_structure_hook_func(_is_list, lambda value, cls: _structure_list(converter, value, cls))
    converter.register_structure_hook_func(_is_union, lambda value, cls: _structure_union(converter, value, cls))

    def structure_class(cls: type[Any]) -> Any:
        fill = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True)

        def structure(value: Any, _: Any) -> Any:
            if not isinstance(value, Mapping):
                raise Refused("type", "must be an object", value)
            return fill(cast("Mapping[str, Any]", value), cls)

        return structure

    def unstructure_class(cls: type[Any]) -> Callable[[Any], dict[str, Any]]:
        names = [attribute.name for attribute in attrs.fields(cls)]

        def unstructure(instance: Any) -> dict[str, Any]:
            given = {name: getattr(instance, name) for name in names}
            return {name: converter.unstructure(value) for name, value in given.items() if value is not MISSING}

        return unstructure

    converter.register_structure_hook_factory(attrs.has, structure_class)
    converter.register_unstructure_hook(Decimal, str)
    for moment in (datetime, date, time):
        converter.register_unstructure_hook(moment, moment.isoformat)
    converter.register_unstructure_hook_factory(attrs.has, unstructure_class)
    return converter


def _structure_plain(value: Any, cls: Any) -> Any:
    # An int is a fine float, as JSON does not tell them apart. A bool is no int.
    if value.__class__ is cls or (cls is float and value.__class__ is int):
        return cls(value)
    raise Refused("type", f"must be of type {cls.__name__}", value)


def _structure_parsed(value: Any, cls: Any) -> Any:
    if not isinstance(value, str):
        raise Refused("type", f"must be the text of a {cls.__name__}", value)
    try:
        return _PARSED[cls](value)
    except (ValueError, ArithmeticError):
        raise Refused("invalid", f"must be the text of a {cls.__name__}", value) from None


def _structure_enum(value: Any, cls: Any) -> Any:
    for member in cls:
        if member.value == value and member.value.__class__ is value.__class__:
            return member
    raise Refused("unknown_choice", f"must be a value of {cls.__name__}", value)


def _structure_list(converter: cattrs.Converter, value: Any, cls: Any) -> list[Any]:
    if value.__class__ is not list:
        raise Refused("type", "must be a list", value)
    (kind,) = get_args(cls) or (Any,)
    given: list[Any] = value
    items: list[Any] = []
    for index, item in enumerate(given):
        try:
            items.append(converter.structure(item, kind))
        except Refused as error:
            error.at = f"[{index}]{error.at}"
            raise
    return items


def _structure_union(converter: cattrs.Converter, value: Any, cls: Any) -> Any:
    kinds = get_args(cls)
    if value is None and types.NoneType in kinds:
        return None
    last: Exception = Refused("type", "must not be None", value)
    for kind in kinds:
        if kind is not types.NoneType and kind is not Missing:
            try:
                return converter.structure(value, kind)
            except Exception as error:  # noqa: BLE001  the next type may fit
                last = error
    raise last


def _is_enum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Enum)


def _is_list(cls: Any) -> bool:
    return cls is list or get_origin(cls) is list


def _is_union(cls: Any) -> bool:
    return get_origin(cls) in {Union, types.UnionType}


def _field_errors(group: cattrs.ClassValidationError, place: str = "") -> list[FieldError]:
    """Every mistake below a place, each with its own."""
    errors: list[FieldError] = []
    for error in group.exceptions:
        where = f"{place}{_name_of(error)}"
        if isinstance(error, cattrs.ClassValidationError):
            errors += _field_errors(error, f"{where}.")
        elif isinstance(error, ForbiddenExtraKeysError):
            extra = sorted(error.extra_fields)
            errors += [FieldError(f"{place}{name}", "unknown_field", "is no attribute") for name in extra]
        elif isinstance(error, KeyError):
            errors.append(FieldError(where, "required", "is missing, and its attribute has no default"))
        else:
            errors.append(mistake(error, where))
    return errors


def _name_of(error: Exception) -> str:
    """The attribute that cattrs noted on an error."""
    notes = getattr(error, "__notes__", ())
    return next((note.name for note in notes if isinstance(note, AttributeValidationNote)), "")
