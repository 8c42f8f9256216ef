"""Decimal numbers, such as amounts of money, without any loss."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from typing import Any, Literal

from attrs import frozen

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
    :raises ConfigurationError: "minor" without ``places``.
    """
    if wire == "minor" and places is None:
        raise ConfigurationError("decimal(wire='minor') needs `places`: how many minor units make one")
    context = Context(prec=_DIGITS, traps=[InvalidOperation] if rounding else [InvalidOperation, Inexact])
    context.rounding = _ROUNDINGS[rounding or "half_even"]
    step = None if places is None else Decimal(1).scaleb(-places)
    found = _Decimals(places, _FLOAT_DIGITS if wire == "number" else _DIGITS, context, step)
    if wire == "number":
        return Codec(found.decode_number, found.encode_number, found.canon)
    if wire == "minor":
        return Codec(found.decode_minor, found.encode_minor, found.canon)
    return Codec(found.decode_text, _same, found.canon)


def _same(value: str) -> str:
    return value


@frozen
class _Decimals:
    places: int | None
    digits: int
    context: Context
    step: Decimal | None

    def canon(self, value: Any) -> str:
        if isinstance(value, Decimal):
            return self._write(value)
        return self._write(Decimal(value)) if value.__class__ is int else self.decode_text(value)

    def decode_text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("type", "must be a decimal number as text", value)
        if len(value) > _DIGITS or not _DECIMAL.fullmatch(value):
            raise Refused("invalid", "must be a decimal number as text", value)
        return self._write(Decimal(value))

    def decode_number(self, value: Any) -> str:
        if value.__class__ is not int and value.__class__ is not float:
            raise Refused("type", "must be a number", value)
        return self._write(Decimal(repr(value)))

    def encode_number(self, value: str) -> float | int:
        return float(value) if "." in value else int(value)

    def decode_minor(self, value: Any) -> str:
        if value.__class__ is not int:
            raise Refused("type", "must be a whole number", value)
        return self._write(Decimal(value).scaleb(-(self.places or 0)))

    def encode_minor(self, value: str) -> int:
        return int(Decimal(value).scaleb(self.places or 0))

    def _write(self, value: Decimal) -> str:
        if not value.is_finite() or abs(value.adjusted()) > _DIGITS:
            raise Refused("invalid", f"must be finite and have at most {_DIGITS} digits", value)
        if self.step is not None:
            try:
                value = value.quantize(self.step, context=self.context)
            except Inexact:
                problem = f"must have at most {self.places} digits behind the point"
                raise Refused("precision", problem, value) from None
            except InvalidOperation:
                raise Refused("range", f"must have at most {_DIGITS} digits", value) from None
        if not value:
            value = value.copy_abs()
        written = f"{value:f}"
        if self.step is None and "." in written:
            written = written.rstrip("0").rstrip(".")
        if len(written) > _DIGITS:
            raise Refused("range", f"must have at most {_DIGITS} characters written out", value)
        if len(written.replace(".", "").strip("-0")) > self.digits:
            problem = f"must have at most {self.digits} digits, to be exact at the provider"
            raise Refused("precision", problem, value)
        return written
