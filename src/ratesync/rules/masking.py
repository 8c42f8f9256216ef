"""What of a request may be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ratesync.model.secret import MASK

HARMLESS = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "content-encoding"),
        *("content-length", "content-type", "date", "host", "idempotency-key", "if-match", "if-modified-since"),
        *("if-none-match", "if-unmodified-since", "prefer", "range", "user-agent"),
    }
)
"""Headers that never hold a credential. Of all others nobody knows."""

_SECRET_NAME = re.compile(
    r"key|token|secret|sign|passw|pwd|auth|session|credential|jwt|hmac|\A(?:sig|code|otp|pin)\Z", re.IGNORECASE
)
_SHORTEST = 8
"""Characters of a secret that is looked for in other places. Shorter ones stand in ordinary words too."""


def mask_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, with the values of all but the harmless ones masked. Names in lower case, sorted."""
    low = {name.lower(): value for name, value in headers.items()}
    return {name: low[name] if name in HARMLESS else MASK for name in sorted(low)}


def mask_query(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and values of a query, with the values masked whose name speaks of a credential."""
    return [(name, MASK if _SECRET_NAME.search(name) else value) for name, value in pairs]


def secrets_among(headers: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> frozenset[str]:
    """What is masked, and the words of it, where they are long enough to be told from ordinary text."""
    masked = [value for name, value in headers.items() if name.lower() not in HARMLESS]
    masked += [value for name, value in pairs if _SECRET_NAME.search(name)]
    return frozenset(word for value in masked for word in (value, *value.split()) if len(word) >= _SHORTEST)


def mask_text(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret in it masked, longer ones first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
