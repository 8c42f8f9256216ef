"""E-mail addresses."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

_LONGEST = 320
_KEPT = 2048


def email(*, case: Literal["keep", "lower"] = "keep", invalid: Literal["error", "keep"] = "error") -> Codec:
    """An e-mail address, normalised: the domain in lower case. Needs the extra ``mapping``.

    Only its form is checked; nothing is asked of the network. The last 2,048 addresses of each codec are remembered.

    :param case: "lower" for lower case before the @ too, which nearly every mail server takes for the same.
    :param invalid: what to do with what is no address: "error" (a mistake), or "keep" it as it is.
    :raises ConfigurationError: email-validator is not installed.
    """
    try:
        from email_validator import EmailNotValidError, validate_email
    except ImportError:
        raise ConfigurationError("email-validator is not installed: pip install 'ratesync[mapping]'") from None

    @lru_cache(maxsize=_KEPT)
    def read(value: str) -> str | None:
        if len(value) > _LONGEST:
            return None
        try:
            # Names like "example.test" are fine where the mail is not sent from here.
            found = validate_email(value, check_deliverability=False, test_environment=True)
        except EmailNotValidError:
            return None
        return found.normalized.lower() if case == "lower" else found.normalized

    def canon(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("type", "must be text", value)
        found = read(value)
        if found is not None:
            return found
        if invalid == "keep":
            return value
        raise Refused("invalid", "must be an e-mail address", value)

    return Codec(canon, canon, canon)
