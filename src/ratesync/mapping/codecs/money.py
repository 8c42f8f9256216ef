"""Decimal numbers, such as amounts of money, without any loss."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from typing import Any, Literal

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_ROUNDINGS = {"half_even": ROUND_HALF_EVEN, "half_up": ROUND_HALF_UP}
_DIGITS = 100
_FLOAT_DIGITS = 15
"""Decimal digits that a JSON number read as a float gives back unchanged."""


def decimal(
    places: int | None = None,
    *,
    wire: Literal["text", "number", "minor"] = "text",
    rounding: Literal["half_even", "half_up"] | None = None,
) -> Codec:
    """A decimal number. The view has it as text ("12.50"); the host may also give a Decimal or an int, but no float.

    :param places: digits behind the point, always that many. None: as many as are needed.
    :param wire: how the provider writes it: "text"; "number", a JSON number, of at most 15 digits; or "minor", a whole
        number of the smallest unit (1250 cents).
    :param rounding: round what has more digits, which loses them. None: that is a mistake ("precision").
    """
    if wire == "minor" and places is None:
        raise ConfigurationError("decimal(wire='minor') needs `places`: how many minor units make one")
    step = None if places is None else Decimal(1).scaleb(-places)
    context = Context(prec=_DIGITS, traps=[InvalidOperation] if rounding else [InvalidOperation, Inexact])
    context.rounding = _ROUNDINGS[rounding or "half_even"]

    def write(value: Decimal) -> str:
        if step is not None:
            try:
                value = value.quantize(step, context=context)
            except Inexact:
                raise Refused("precision", f"must have at most {places} digits behind the point", value) from None
            except InvalidOperation:
                raise Refused("range", f"must have at most {_DIGITS} digits", value) from None
        if not value:
            value = value.copy_abs()
        if wire == "number" and len(value.normalize(context).as_tuple().digits) > _FLOAT_DIGITS:
            raise Refused("precision", f"must have at most {_FLOAT_DIGITS} digits, as the provider has it as a number")
        written = f"{value:f}"
        return written if step is not None or "." not in written else written.rstrip("0").rstrip(".")

    def canon(value: Any) -> str:
        if isinstance(value, Decimal):
            return write(_finite(value))
        if value.__class__ is int:
            return write(Decimal(value))
        return write(_parsed(value))

    def encode_number(value: str) -> float | int:
        exact = Decimal(value)
        return int(exact) if exact == exact.to_integral_value() else float(exact)

    def decode_number(value: Any) -> str:
        if value.__class__ is not int and value.__class__ is not float:
            raise Refused("type", "must be a number", value)
        return write(_finite(Decimal(repr(value))))

    def encode_minor(value: str) -> int:
        return int(Decimal(value).scaleb(places or 0, context))

    def decode_minor(value: Any) -> str:
        if value.__class__ is not int:
            raise Refused("type", "must be a whole number", value)
        return write(Decimal(value).scaleb(-(places or 0), context))

    if wire == "number":
        return Codec(decode_number, encode_number, canon)
    if wire == "minor":
        return Codec(decode_minor, encode_minor, canon)
    return Codec(lambda value: write(_parsed(value)), lambda value: value, canon)


def _parsed(value: Any) -> Decimal:
    if not isinstance(value, str):
        raise Refused("type", "must be a decimal number as text", value)
    if len(value) > _DIGITS or not _DECIMAL.fullmatch(value):
        raise Refused("invalid", "must be a decimal number as text", value)
    return Decimal(value)


def _finite(value: Decimal) -> Decimal:
    if value.is_finite() and abs(value.adjusted()) <= _DIGITS:
        return value
    raise Refused("invalid", f"must be finite and have at most {_DIGITS} digits", value)
