"""True and false."""

from __future__ import annotations

from typing import Any

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused
from ratesync.rules.sameness import is_same


def boolean(*, true: Any = True, false: Any = False) -> Codec:
    """True or false in the view. Nothing else is taken for one: "false" is not True, 1 is not True.

    :param true: how the provider spells True ("true", "Y", 1).
    :param false: how the provider spells False.
    :raises ConfigurationError: both are spelt alike.
    """
    if is_same(true, false):
        raise ConfigurationError("boolean: true and false are spelt alike")

    def decode(value: Any) -> bool:
        if is_same(value, true):
            return True
        if is_same(value, false):
            return False
        raise Refused("type", f"must be {true!r} or {false!r}", value)

    def canon(value: Any) -> bool:
        if value is True or value is False:
            return value
        raise Refused("type", "must be True or False", value)

    if true is True and false is False:
        return Codec(canon, canon, canon)
    return Codec(decode, lambda value: true if value else false, canon)
