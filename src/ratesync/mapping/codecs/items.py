"""Lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from ratesync.mapping.codec import AS_IS, Codec
from ratesync.mapping.field_error import Refused


def items(codec: Codec = AS_IS, *, separator: str | None = None, max_items: int | None = None) -> Codec:
    """A list, each item by a codec. Order and length stay; None stays None.

    :param codec: of an item.
    :param separator: between the items, if the provider has them in one text ("red;blue"). Then the codec gives text,
        an item must not have the separator in it nor be empty or None, and an empty list is "".
    :param max_items: most items. More is a mistake ("too_long").
    """

    def each(function: Callable[[Any], Any], value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Refused("type", "must be a list", value)
        given = cast("list[Any]", value)
        if max_items is not None and len(given) > max_items:
            raise Refused("too_long", f"must have at most {max_items} items", given)
        return [None if item is None else _at(function, item, index) for index, item in enumerate(given)]

    def decode(value: Any) -> list[Any]:
        return each(codec.decode, value)

    def encode(value: Any) -> list[Any]:
        return each(codec.encode, value)

    def canon(value: Any) -> list[Any]:
        return each(codec.canon, value)

    if separator is None:
        return Codec(decode, encode, canon)

    def decode_text(value: Any) -> list[Any]:
        if not isinstance(value, str):
            raise Refused("type", "must be text", value)
        return decode([item for item in value.split(separator) if item])

    def canon_text(value: Any) -> list[Any]:
        found = canon(value)
        for index, spelt in enumerate(encode(found)):
            if not isinstance(spelt, str) or not spelt or separator in spelt:
                raise Refused("invalid", f"must be text without {separator!r}, and not empty", spelt, at=f"[{index}]")
        return found

    return Codec(decode_text, lambda value: separator.join(encode(value)), canon_text)


def _at(function: Callable[[Any], Any], item: Any, index: int) -> Any:
    try:
        return function(item)
    except Refused as error:
        error.at = f"[{index}]{error.at}"
        raise
