"""Ids of records."""

from __future__ import annotations

from typing import Any, Literal

from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

_MOST_DIGITS = 30


def record_id(*, wire: Literal["text", "number"] = "text") -> Codec:
    """The id of a record. The view has text.

    :param wire: "number" if the provider has numbers (42); the view then has "42".
    """

    def canon(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("type", "must be text", value)
        plain = value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
        if not value or (wire == "number" and not (plain and str(int(value)) == value)):
            raise Refused("invalid", "must be a number as text" if wire == "number" else "must not be empty", value)
        return value

    def decode(value: Any) -> str:
        if value.__class__ is not int or value < 0:
            raise Refused("type", "must be a whole number, not below 0", value)
        return canon(str(value))

    return Codec(decode, int, canon) if wire == "number" else Codec(canon, canon, canon)
