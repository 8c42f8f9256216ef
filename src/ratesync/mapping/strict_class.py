"""An attrs class whose instances are made of JSON and back, with no value made to fit."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import chain
from traceback import walk_tb
from typing import Any, Generic, TypeVar, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from ratesync.errors import ConfigurationError
from ratesync.mapping.field_error import FieldError, InvalidFields, Refused, mistake
from ratesync.mapping.missing import MISSING, Missing

V = TypeVar("V")

_PLAIN = (str, int, float, bool)
_PARSED: dict[Any, Callable[[str], Any]] = {
    Decimal: Decimal,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
}
"""Types that JSON does not have, and how they are read from the canonical text."""


class StrictClass(Generic[V]):
    """A class by whose instances a view is told.

    Types are those of :class:`~ratesync.mapping.TypedMapping`.

    :raises ConfigurationError: it is no attrs class.
    """

    def __init__(self, view: type[V]) -> None:
        if not attrs.has(view):
            raise ConfigurationError(f"{view.__qualname__} is no attrs class: decorate it with attrs.frozen")
        attrs.resolve_types(view)
        self.view = view
        self.names = frozenset(attribute.name for attribute in attrs.fields(view) if attribute.init)
        """Of its attributes; those that an instance finds out by itself are left out."""
        self._converter = strict_converter()

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
    converter.register_structure_hook_func(_is_tuple, lambda value, cls: tuple(_structure_list(converter, value, cls)))
    converter.register_structure_hook_func(_is_union, lambda value, cls: _structure_union(converter, value, cls))

    def structure_class(cls: type[Any]) -> Any:
        fill = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True)

        def structure(value: Any, _: Any) -> Any:
            if not isinstance(value, Mapping):
                raise Refused("type", "must be an object", value)
            return fill(cast("Mapping[str, Any]", value), cls)

        return structure

    def unstructure_class(cls: type[Any]) -> Callable[[Any], dict[str, Any]]:
        names = [attribute.name for attribute in attrs.fields(cls) if attribute.init]

        def unstructure(instance: Any) -> dict[str, Any]:
            given = {name: getattr(instance, name) for name in names}
            return {name: converter.unstructure(value) for name, value in given.items() if value is not MISSING}

        return unstructure

    converter.register_structure_hook_factory(attrs.has, structure_class)
    converter.register_unstructure_hook(Decimal, str)
    converter.register_unstructure_hook(tuple, lambda items: [converter.unstructure(item) for item in items])
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
    kind, *_ = get_args(cls) or (Any,)
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


def _is_tuple(cls: Any) -> bool:
    """A tuple of any length, all of one type."""
    return get_origin(cls) is tuple and get_args(cls)[1:] == (Ellipsis,)


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
    """The attribute that an error is about: cattrs has noted it, or its validator was given it."""
    notes = getattr(error, "__notes__", ())
    noted = (note.name for note in notes if isinstance(note, AttributeValidationNote))
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    given = (value.name for frame in frames for value in frame.f_locals.values() if isinstance(value, attrs.Attribute))
    return next(chain(noted, given), "")
