"""Which credentials went out with a request, so that no reason repeats them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from ratesync.http.exchange import RawRequest
from ratesync.http.headers import Headers
from ratesync.model.secret import Secret
from ratesync.rules.masking import secrets_among


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
        *(Secret(value) for _, value in own if value),
    )


def query_pairs(url: object) -> list[tuple[str, str]]:
    """Names and values of a URL's query."""
    query = str(url).partition("#")[0].partition("?")[2]
    return parse_qsl(query) if query else []
