"""Which credentials went out with a request, so that no reason repeats them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from ratesync.http.exchange import RawRequest
from ratesync.http.headers import Headers
from ratesync.model.secret import Secret
from ratesync.rules.masking import is_short, secrets_among

_PLAIN = re.compile(r"[a-z]+([-_.][a-z]+)*")
"""Words such as a path is made of. Keys have digits or capital letters in them."""


def secrets_sent(url: object, headers: Mapping[str, str], by_client: RawRequest | None = None) -> tuple[Secret, ...]:
    """The values of all headers that are not known to be harmless, and of a query's parameters that speak of a key.

    :param url: its text is where the request goes.
    :param by_client: what the host's client made of it, with headers, parameters and authentication of its own. Every
        parameter that it added may be a key, whatever its name.
    """
    asked = query_pairs(url)
    if by_client is None:
        return secrets_among(headers, asked)
    sent = query_pairs(by_client.url)
    own = {pair for pair in sent if pair not in asked}
    return (
        *secrets_among(Headers(by_client.headers.raw), sent),
        *(Secret(value) for _, value in own if not is_short(value)),
    )


def secrets_in_path(base_url: str) -> tuple[Secret, ...]:
    """What may be a key in the path of a base URL: ``123456:AAF3...`` of ``https://api.example/bot/123456:AAF3...``."""
    parts = urlsplit(base_url).path.split("/")
    return tuple(Secret(unquote(part)) for part in parts if may_be_key(part))


def may_be_key(part: str) -> bool:
    """Tell whether a part of a path may be a key: it has eight characters or more, and is no word of small letters."""
    return not is_short(part) and not _PLAIN.fullmatch(part)


def query_pairs(url: object) -> list[tuple[str, str]]:
    """Names and values of a URL's query."""
    query = str(url).partition("#")[0].partition("?")[2]
    return parse_qsl(query) if query else []
