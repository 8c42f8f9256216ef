"""What of a request may be shown, and hiding the rest wherever somebody repeats it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import evolve

from ratesync.model.outcome import Applied, Outcome, Rejected
from ratesync.model.secret import MASK, Secret
from ratesync.rules.spelling import encoded_runs, spellings, unfolded

HARMLESS = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection"),
        *("content-encoding", "content-length", "content-type", "date", "host", "idempotency-key", "if-match"),
        *("if-modified-since", "if-none-match", "if-unmodified-since", "prefer", "range", "transfer-encoding"),
        "user-agent",
    }
)
"""Headers that never hold a credential. Of all others nobody knows."""

_HARMLESS_FIELDS = frozenset({"audience", "client_id", "grant_type", "resource", "scope"})
"""The same of the fields of a token request."""

_SECRET_NAME = re.compile(
    r"key|token|secret|sign|passw|pwd|auth|session|credential|jwt|hmac|\A(?:sig|code|otp|pin)\Z", re.IGNORECASE
)
_SHORTEST = 8
"""Characters of a secret that is looked for in other places. Shorter ones stand in ordinary words too."""
_BETWEEN = re.compile(r"[\s,;]+")


def mask_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, with the values of all but the harmless ones masked. Names in lower case, sorted."""
    low = {name.lower(): value for name, value in headers.items()}
    return {name: low[name] if name in HARMLESS else MASK for name in sorted(low)}


def mask_query(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and values of a query, with the values masked whose name speaks of a credential."""
    return [(name, MASK if _SECRET_NAME.search(name) else value) for name, value in pairs]


def secrets_among(headers: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> tuple[Secret, ...]:
    """What :func:`mask_headers` and :func:`mask_query` mask."""
    values = [value for name, value in headers.items() if name.lower() not in HARMLESS]
    values += [value for name, value in pairs if _SECRET_NAME.search(name)]
    return tuple(Secret(value) for value in values if value)


def secrets_in_form(fields: Mapping[str, str]) -> tuple[Secret, ...]:
    """What a token request must not show: the client's secret, a refresh token, an assertion."""
    return tuple(Secret(value) for name, value in fields.items() if value and name not in _HARMLESS_FIELDS)


def mask_text(text: str, secrets: Iterable[str | Secret]) -> str:
    """The text without the secrets.

    A secret is found as a whole and by its words, such as the token behind ``Bearer`` and the password in the base64
    behind ``Basic``, if they have eight characters or more; in any case; percent-encoded, escaped for JSON or HTML, up
    to three times over; and in base64 or hexadecimal, alone or with other text around it.
    """
    words = {_folded(word.encode("utf-8", "surrogatepass")) for secret in secrets for word in _words(secret)}
    if not words:
        return text
    pieces: list[str] = []
    done = 0
    for start, end in sorted(_shown(text, words)):
        if start >= done:
            pieces += [text[done:start], MASK]
        done = max(done, end)
    return "".join([*pieces, text[done:]])


def mask_outcome(outcome: Outcome, secrets: Iterable[str | Secret]) -> Outcome:
    """The outcome with its reason masked. A code that repeats a secret is no code."""
    if isinstance(outcome, Applied):
        return outcome
    secrets = tuple(secrets)
    if isinstance(outcome, Rejected) and outcome.code is not None and shows(outcome.code, secrets):
        outcome = evolve(outcome, code=None)
    return evolve(outcome, reason=mask_text(outcome.reason, secrets))


def shows(text: str, secrets: Iterable[str | Secret]) -> bool:
    """Tell whether :func:`mask_text` finds something in the text."""
    return mask_text(text, secrets) != text


def _shown(text: str, words: set[bytes]) -> Iterator[tuple[int, int]]:
    """Where the text shows one of the words, in whatever spelling."""
    for spelling in spellings(text):
        folded = _folded(spelling.data)
        for word in words:
            at = folded.find(word)
            while at >= 0:
                yield spelling.span(at, at + len(word))
                at = folded.find(word, at + 1)
        for start, end, plain in encoded_runs(spelling.data):
            if any(word in _folded(plain) for word in words):
                yield spelling.span(start, end)


def _folded(data: bytes) -> bytes:
    """Without what does not tell a secret from itself: its case, and that ``+`` may stand for a space."""
    return data.lower().replace(b"+", b" ")


def _words(secret: str | Secret) -> set[str]:
    """The secret and what stands in it that is one by itself."""
    text = secret.reveal() if isinstance(secret, Secret) else secret
    words = {text}
    for word in _BETWEEN.split(text):
        value = word.partition("=")[2].strip("\"'=")
        words |= {word, value}
        pair = unfolded(word)
        if pair is not None:
            # User and password are percent-encoded before they are put together (RFC 6749, section 2.3.1), or not.
            words |= {pair, *(each.text for part in pair.split(":", 1) for each in spellings(part))}
    return {word for word in words if len(word) >= _SHORTEST}
