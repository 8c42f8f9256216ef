"""Telephone numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

if TYPE_CHECKING:
    from types import ModuleType

_LONGEST = 250
_KEPT = 2048


def phone(
    region: str | None = None,
    *,
    check: Literal["valid", "possible"] = "valid",
    invalid: Literal["error", "keep"] = "error",
) -> Codec:
    """A telephone number in E.164 ("+41446681800"), an extension behind it (";ext=12"). Needs the extra ``mapping``.

    The provider keeps its own spelling until the number changes. The last 2,048 numbers of each codec are remembered,
    as reading one is slow.

    :param region: the country of numbers without a country's code ("CH").
    :param check: "valid" (the number can be assigned, as far as is known) or "possible" (its length is right).
    :param invalid: what to do with what is no number: "error" (a mistake), or "keep" it as it is, as people write
        things like "ask Ada" where a number should stand.
    :raises ConfigurationError: phonenumbers is not installed, or there is no such region.
    """
    phonenumbers = _library()
    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        raise ConfigurationError(f"phone: there is no region {region!r}: give two capitals, such as 'CH'")
    accept = phonenumbers.is_valid_number if check == "valid" else phonenumbers.is_possible_number

    @lru_cache(maxsize=_KEPT)
    def read(value: str) -> str | None:
        if len(value) > _LONGEST:
            return None
        try:
            number = phonenumbers.parse(value, region)
        except phonenumbers.NumberParseException:
            return None
        if not accept(number):
            return None
        written = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
        return f"{written};ext={number.extension}" if number.extension else written

    def canon(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("type", "must be text", value)
        given = value.strip()
        found = read(given)
        if found is not None:
            return found
        if invalid == "keep":
            return given
        hint = "" if region else ", with its country's code"
        raise Refused("invalid", f"must be a telephone number{hint}", value)

    return Codec(canon, canon, canon)


def _library() -> ModuleType:
    try:
        import phonenumbers
    except ImportError:
        raise ConfigurationError("phonenumbers is not installed: pip install 'ratesync[mapping]'") from None
    return phonenumbers
