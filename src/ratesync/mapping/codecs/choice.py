"""One of a few values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Literal, cast

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused


def choice(values: Mapping[str, str | int] | Iterable[str], *, unknown: Literal["error", "keep"] = "error") -> Codec:
    """One of a few values, which both sides may name differently.

    :param values: the view's names and the provider's, one for one; or names that both share.
    :param unknown: what to do with a value that is not among them: "error" (a mistake, "unknown_choice"), or "keep" it
        as it is, in both directions.
    :raises ConfigurationError: two names stand for the same value of the provider.
    """
    outward = _outward(values)
    inward = {value: name for name, value in outward.items()}
    if len(inward) < len(outward):
        raise ConfigurationError("choice: two names stand for the same value of the provider, so none can be read back")
    known = ", ".join(sorted(outward))
    keep = unknown == "keep"

    def decode(value: Any) -> Any:
        found = None if isinstance(value, bool) or not isinstance(value, (str, int)) else inward.get(value)
        if found is not None:
            return found
        return _unknown(value, f"is none of the known values, which stand for {known}", keep=keep)

    def canon(value: Any) -> Any:
        given = value.value if isinstance(value, Enum) else value
        if isinstance(given, str) and given in outward:
            return given
        if keep and isinstance(given, (str, int)) and given in inward:
            raise Refused("ambiguous", "is the provider's own name of a value: give the view's", given)
        return _unknown(given, f"must be one of {known}", keep=keep)

    return Codec(decode, lambda value: outward.get(value, value), canon, samples=tuple(outward))


def _outward(values: Mapping[str, str | int] | Iterable[str]) -> dict[str, str | int]:
    if isinstance(values, Mapping):
        return dict(cast("Mapping[str, str | int]", values))
    return {name: name for name in values}


def _unknown(value: Any, problem: str, *, keep: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Refused("type", problem, value)
    if keep:
        return value
    raise Refused("unknown_choice", problem, value)
