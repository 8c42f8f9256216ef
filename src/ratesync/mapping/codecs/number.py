"""Whole numbers and floating-point numbers."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

Wire = Literal["number", "text"]

_WHOLE = re.compile(r"[+-]?\d{1,4000}(?:\.0*)?", re.ASCII)
_REAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def integer(*, minimum: int | None = None, maximum: int | None = None, wire: Wire = "number") -> Codec:
    """A whole number. 5.9 is not 5, "5" is not 5 and True is not 1.

    :param minimum: the least that is allowed.
    :param maximum: the most that is allowed.
    :param wire: "text" if the provider writes it as text ("5"). A provider may write 5 as 5.0 all the same.
    """

    def check(value: int) -> int:
        if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
            raise Refused("range", _range(minimum, maximum), value)
        return value

    def canon(value: Any) -> int:
        if value.__class__ is not int:
            raise Refused("type", "must be a whole number", value)
        return check(value)

    def decode_number(value: Any) -> int:
        if value.__class__ is float and value.is_integer():
            return check(int(value))
        return canon(value)

    def decode_text(value: Any) -> int:
        if not isinstance(value, str):
            raise Refused("type", "must be a whole number as text", value)
        if not _WHOLE.fullmatch(value):
            raise Refused("invalid", "must be a whole number as text", value)
        return check(int(value.partition(".")[0]))

    return Codec(decode_text, str, canon) if wire == "text" else Codec(decode_number, canon, canon)


def number(*, minimum: float | None = None, maximum: float | None = None, wire: Wire = "number") -> Codec:
    """A floating-point number. NaN and infinity are refused, as JSON has neither. For money take ``decimal``.

    :param minimum: the least that is allowed.
    :param maximum: the most that is allowed.
    :param wire: "text" if the provider writes it as text ("0.5").
    """

    def canon(value: Any) -> float:
        if value.__class__ is not float and value.__class__ is not int:
            raise Refused("type", "must be a number", value)
        try:
            given = float(value)
        except OverflowError:
            raise Refused("range", "must fit into 64 bits", value) from None
        if not math.isfinite(given):
            raise Refused("invalid", "must be finite, as JSON has no NaN and no infinity", value)
        if (minimum is not None and given < minimum) or (maximum is not None and given > maximum):
            raise Refused("range", _range(minimum, maximum), value)
        return given

    def decode_text(value: Any) -> float:
        if not isinstance(value, str):
            raise Refused("type", "must be a number as text", value)
        if not _REAL.fullmatch(value):
            raise Refused("invalid", "must be a number as text", value)
        return canon(float(value))

    return Codec(decode_text, repr, canon) if wire == "text" else Codec(canon, canon, canon)


def _range(minimum: float | None, maximum: float | None) -> str:
    if maximum is None:
        return f"must be at least {minimum}"
    return f"must be at most {maximum}" if minimum is None else f"must lie between {minimum} and {maximum}"
