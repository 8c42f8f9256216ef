"""OAuth 2.0 tokens: what a token endpoint's answer means, and when a token will do (RFC 6749)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, cast

from attrs import evolve, field, frozen

from ratesync.errors import InvalidResponse
from ratesync.model.secret import Secret

LONGEST_TOKEN = 65_536
"""Characters."""
LONGEST_LIFE = 10 * 366 * 86_400.0
"""Seconds; a longer life is a number that was misread."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
_CODE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,64}")
_FINAL = frozenset(
    {"invalid_grant", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
    | {"access_denied", "interaction_required", "consent_required", "login_required"}
)
"""Refusals that trying again does not change."""


def _secret(value: str | Secret) -> Secret:  # a function, as mypy takes no class method for a converter
    return Secret.of(value)


def _secret_or_none(value: str | Secret | None) -> Secret | None:
    return None if value is None else Secret.of(value)


@frozen(kw_only=True)
class Tokens:
    """What authorises a connection now."""

    access: Secret = field(converter=_secret)
    """Sent with each request: a text, kept as a secret."""
    refresh: Secret | None = field(default=None, converter=_secret_or_none)
    """Gets the next access token; None where the grant itself can be repeated."""
    expires_at: float | None = None
    """When the access token runs out; None if nobody knows."""
    generation: int = 0
    """Grows with every renewal, so that it can be told which of two is the newer one."""
    is_spent: bool = False
    """The token endpoint has refused the refresh token: somebody must authorise anew."""

    def will_do(self, now: float, leeway: float, refused: Tokens | None) -> bool:
        """Tell whether the access token can be used: still for ``leeway`` seconds, and newer than the refused one."""
        if refused is not None and self.generation <= refused.generation:
            return False
        return self.expires_at is None or now < self.expires_at - leeway


@frozen
class GrantRefusal:
    """A token endpoint's error."""

    code: str
    is_final: bool
    """Asking again will not help."""


def read_tokens(body: Any, asked_at: float, held: Tokens | None) -> Tokens:
    """The tokens in a token endpoint's answer. They live from the instant at which they were asked for.

    Where it gives no new refresh token, the one held stays good.

    :raises InvalidResponse: there is no access token in it that can be sent.
    """
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", body) if isinstance(body, dict) else {}
    access = _token(fields.get("access_token"))
    if access is None:
        raise InvalidResponse("the token endpoint's answer has no access token that can stand in a header")
    life = _seconds(fields.get("expires_in"))
    refresh = _token(fields.get("refresh_token"))
    return Tokens(
        access=access,
        refresh=refresh or (None if held is None else held.refresh),
        expires_at=None if life is None else asked_at + life,
        generation=1 if held is None else held.generation + 1,
    )


def read_refusal(status: int, body: Any) -> GrantRefusal | None:
    """The error in a token endpoint's answer; None if it names none, as a gateway's would not."""
    code = cast("Mapping[str, Any]", body).get("error") if isinstance(body, dict) else None
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return None
    is_refused = status // 100 == 4  # noqa: PLR2004  the client's fault, RFC 9110
    return GrantRefusal(code, is_final=is_refused and code in _FINAL)


def spent(tokens: Tokens) -> Tokens:
    """The tokens, once their refresh token was refused."""
    return evolve(tokens, is_spent=True)


def write_tokens(tokens: Tokens) -> bytes:
    """The tokens as bytes, in the clear: encrypt them where they are stored."""
    return json.dumps(
        {
            "v": 1,
            "access": tokens.access.reveal(),
            "refresh": None if tokens.refresh is None else tokens.refresh.reveal(),
            "expires_at": tokens.expires_at,
            "generation": tokens.generation,
            "spent": tokens.is_spent,
        }
    ).encode()


def load_tokens(data: bytes) -> Tokens:
    """What :func:`write_tokens` wrote.

    :raises ValueError: it is something else. The message shows nothing of it.
    """
    try:
        fields = json.loads(data)
        is_known = fields["v"] == 1
        expires_at, generation, is_spent = fields["expires_at"], fields["generation"], fields["spent"]
        refresh = None if fields["refresh"] is None else Secret(fields["refresh"])
        types = isinstance(expires_at, float | int | None), isinstance(generation, int), isinstance(is_spent, bool)
        if is_known and all(types):
            access = Secret(fields["access"])
            return Tokens(
                access=access, refresh=refresh, expires_at=expires_at, generation=generation, is_spent=is_spent
            )
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError("these bytes are no tokens: were they written by another program?")


def _token(value: Any) -> Secret | None:
    is_token = isinstance(value, str) and len(value) <= LONGEST_TOKEN and _TOKEN.fullmatch(value)
    return Secret(value) if is_token else None


def _seconds(value: Any) -> float | None:
    """A life in seconds; some providers write it as text."""
    if isinstance(value, str) and len(value) < 20:  # noqa: PLR2004  digits of any number that is one
        value = float(value) if value.replace(".", "", 1).isdecimal() and value.isascii() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= LONGEST_LIFE else None


@frozen
class LockView:
    """What a waiter has seen of a lock: its revision, and since when."""

    revision: int
    seen_at: float = field(default=0.0)

    def seen(self, revision: int, now: float) -> LockView:
        """The view after another look."""
        return self if revision == self.revision else LockView(revision, now)

    def is_stale(self, now: float, lease: float) -> bool:
        """Its holder has not renewed it for ``lease`` seconds of the waiter's own clock, so nobody's clock is compared.

        A lock with revision 0 is held by nobody.
        """
        return self.revision == 0 or now - self.seen_at >= lease
