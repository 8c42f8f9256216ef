"""Lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from attrs import frozen

from ratesync.mapping.codec import AS_IS, Codec
from ratesync.mapping.field_error import Refused


def items(codec: Codec = AS_IS, *, separator: str | None = None, max_items: int | None = None) -> Codec:
    """A list, each item by a codec. Order and length stay; None stays None.

    :param codec: of an item.
    :param separator: between the items, if the provider has them in one text ("red;blue"). Then the codec gives text,
        an item must not have the separator in it nor be empty or None, and an empty list is "".
    :param max_items: most items. More is a mistake ("too_long").
    """
    listed, samples = _Listed(codec, max_items), tuple((sample,) for sample in codec.samples)
    if separator is None:
        return Codec(listed.decode, listed.encode, listed.canon, samples=samples)
    joined = _Joined(listed, separator)
    return Codec(joined.decode, joined.encode, joined.canon, samples=samples)


@frozen
class _Listed:
    codec: Codec
    max_items: int | None

    def decode(self, value: Any) -> list[Any]:
        return self._each(self.codec.decode, value)

    def encode(self, value: Any) -> list[Any]:
        return self._each(self.codec.encode, value)

    def canon(self, value: Any) -> list[Any]:
        return self._each(self.codec.canon, value)

    def _each(self, function: Callable[[Any], Any], value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Refused("type", "must be a list", value)
        given = cast("Sequence[Any]", value)
        if self.max_items is not None and len(given) > self.max_items:
            raise Refused("too_long", f"must have at most {self.max_items} items", given)
        return [None if item is None else _at(function, item, index) for index, item in enumerate(given)]


@frozen
class _Joined:
    listed: _Listed
    separator: str

    def decode(self, value: Any) -> list[Any]:
        if not isinstance(value, str):
            raise Refused("type", "must be text", value)
        return self.listed.decode([item for item in value.split(self.separator) if item])

    def encode(self, value: Any) -> str:
        return self.separator.join(self.listed.encode(value))

    def canon(self, value: Any) -> list[Any]:
        found = self.listed.canon(value)
        for index, spelt in enumerate(self.listed.encode(found)):
            if not isinstance(spelt, str) or not spelt or self.separator in spelt:
                problem = f"must be text without {self.separator!r}, and not empty"
                raise Refused("invalid", problem, spelt, at=f"[{index}]")
        return found


def _at(function: Callable[[Any], Any], item: Any, index: int) -> Any:
    try:
        return function(item)
    except Refused as error:
        error.at = f"[{index}]{error.at}"
        raise
