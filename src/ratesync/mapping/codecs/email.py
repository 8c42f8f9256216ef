"""E-mail addresses."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

_LONGEST = 254
_PLAIN = re.compile(
    r"(?=.{1,64}@)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
)
"""Addresses of the usual form, which are written as they should be, if their domain is no special one."""
_KEPT = 2048


def email(*, case: Literal["keep", "lower"] = "keep", invalid: Literal["error", "keep"] = "error") -> Codec:
    """An e-mail address, normalised: the domain in lower case. Needs the extra ``mapping``.

    Only its form is checked; nothing is asked of the network. The last 2,048 addresses of each codec are remembered.

    :param case: "lower" for lower case before the @ too, which nearly every mail server takes for the same; in what is
        no address and kept, too.
    :param invalid: what to do with what is no address: "error" (a mistake), or "keep" it, as people write things like
        "n/a" where an address should stand.
    :raises ConfigurationError: email-validator is not installed.
    """
    try:
        from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
    except ImportError:
        raise ConfigurationError("email-validator is not installed: pip install 'ratesync[mapping]'") from None

    special = tuple(f".{name}" for name in SPECIAL_USE_DOMAIN_NAMES)

    @lru_cache(maxsize=_KEPT)
    def read(value: str) -> str | None:
        if len(value) > _LONGEST:
            return None
        if _PLAIN.fullmatch(value) and not value.replace("@", ".").endswith(special):
            found = value
        else:
            try:
                # Names like "example.test" are fine where the mail is not sent from here.
                found = validate_email(value, check_deliverability=False, test_environment=True).normalized
            except EmailNotValidError:
                return None
        return found

    def canon(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("type", "must be text", value)
        given = value.strip().lower() if case == "lower" else value.strip()
        found = read(given)
        if found is not None:
            return found
        if invalid == "keep":
            return given
        raise Refused("invalid", "must be an e-mail address", value)

    return Codec(canon, canon, canon)
