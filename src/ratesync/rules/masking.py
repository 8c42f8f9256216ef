"""What of a request may be shown, and hiding the rest wherever somebody repeats it."""

from __future__ import annotations

import re
from base64 import b64encode
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
"""Characters of a secret that is looked for within other words. A shorter one counts where it is a word by itself."""
_SHORTEST_ENCODED = 4
"""The same of one that is looked for in what may be base64. What is shorter stands in such bytes by chance."""
_BETWEEN = re.compile(r"[\s,;]+")
_LETTER = re.compile(rb"\w")


def mask_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, with the values of all but the harmless ones masked. Names in lower case, sorted."""
    low = {name.lower(): value for name, value in headers.items()}
    return {name: low[name] if name in HARMLESS else MASK for name in sorted(low)}


def mask_query(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and values of a query, with the values masked whose name speaks of a credential."""
    return [(name, MASK if _SECRET_NAME.search(name) else value) for name, value in pairs]


def secrets_among(headers: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> tuple[Secret, ...]:
    """What :func:`mask_headers` and :func:`mask_query` mask, but for short values of headers that speak of no key."""
    values = [value for name, value in headers.items() if name.lower() not in HARMLESS and _may_be_key(name, value)]
    values += [value for name, value in pairs if _SECRET_NAME.search(name)]
    return tuple(Secret(value) for value in values if value)


def secrets_in_form(fields: Mapping[str, str]) -> tuple[Secret, ...]:
    """What a token request must not show: the client's secret, a refresh token, an assertion."""
    named = (value for name, value in fields.items() if name not in _HARMLESS_FIELDS and _may_be_key(name, value))
    return tuple(Secret(value) for value in named if value)


def is_short(value: str) -> bool:
    """Tell whether a value counts as secret only where it is known to be one: others as short are in ordinary text."""
    return len(value) < _SHORTEST


def mask_text(text: str, secrets: Iterable[str | Secret]) -> str:
    """The text without the secrets.

    A secret is found as a whole and by its words, such as the token behind ``Bearer`` and the password in the base64
    behind ``Basic``; in any case; percent-encoded, escaped for JSON or HTML, up to three times over; and in base64 or
    hexadecimal, alone or with other text around it. One of fewer than eight characters is found where it is a word by
    itself, and words of a secret that are as short only where they are all there is of it: behind a scheme like
    ``Bearer``, or as the password of ``Basic``.
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


def _may_be_key(name: str, value: str) -> bool:
    return not is_short(value) or _SECRET_NAME.search(name) is not None or name.lower() == "cookie"


def _shown(text: str, words: set[bytes]) -> Iterator[tuple[int, int]]:
    """Where the text shows one of the words, in whatever spelling."""
    long_enough = {word for word in words if len(word) >= _SHORTEST_ENCODED}
    for spelling in spellings(text):
        for start, end in _places(_folded(spelling.data), words):
            yield spelling.span(start, end)
        for start, end, plain in encoded_runs(spelling.data):
            if any(True for _ in _places(_folded(plain), long_enough)):
                yield spelling.span(start, end)


def _places(data: bytes, words: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Where one of the words is: a short one, where it is no part of another word."""
    for word in words:
        at = data.find(word)
        while at >= 0:
            end = at + len(word)
            if len(word) >= _SHORTEST or not (_are_one(data[:at], word) or _are_one(word, data[end:])):
                yield at, end
            at = data.find(word, at + 1)


def _are_one(left: bytes, right: bytes) -> bool:
    return _LETTER.match(left[-1:]) is not None and _LETTER.match(right) is not None


def _folded(data: bytes) -> bytes:
    """Without what does not tell a secret from itself: its case, and that ``+`` may stand for a space."""
    return data.lower().replace(b"+", b" ")


def _words(secret: str | Secret) -> set[str]:
    """The secret and what stands in it that is one by itself."""
    text = secret.reveal() if isinstance(secret, Secret) else secret
    parts = _BETWEEN.split(text)
    wholes, words = {text}, set[str]()
    for word in parts:
        value = word.partition("=")[2].strip("\"'=")
        words |= {word, value}
        if len(parts) == 2 and word is parts[1]:  # noqa: PLR2004  behind a scheme
            wholes |= {word, value}
        pair = unfolded(word)
        if pair is not None:
            # User and password are percent-encoded before they are put together (RFC 6749, section 2.3.1), or not.
            user, colon, password = pair.partition(":")
            words |= {pair, *(each.text for each in spellings(user))}
            wholes |= {each.text for each in spellings(password or user)} if colon else set()
    short = {whole for whole in wholes if whole and is_short(whole)}
    return {word for word in words | wholes if not is_short(word)} | short | _encoded(short)


def _encoded(words: Iterable[str]) -> set[str]:
    """Short words in base64 and hexadecimal: too few digits for those to be noticed as such."""
    data = [word.encode("utf-8", "surrogatepass") for word in words]
    return {each for plain in data for each in (b64encode(plain).decode().rstrip("="), plain.hex())}
