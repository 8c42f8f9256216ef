"""How an OAuth 2.0 token is asked for: client credentials, a refresh token, or a signed assertion."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from random import Random
from typing import Any, Protocol

from attrs import field, frozen

from ratesync.errors import ConfigurationError, NeedsReauth
from ratesync.model.secret import Secret
from ratesync.randomness import operation_id, system_random
from ratesync.rules.tokens import Tokens


def _secret(value: str | Secret) -> Secret:  # a function, as mypy takes no class method for a converter
    return Secret.of(value)


def _hidden(fields: Mapping[str, str | Secret]) -> dict[str, Secret]:
    return {name: _secret(value) for name, value in fields.items()}


def _shown(fields: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in fields.items()}


class Grant(Protocol):
    """What a token is asked for with."""

    def form(self, held: Tokens | None, now: float) -> Mapping[str, str]:
        """The fields of the token request. They hold secrets.

        :raises NeedsReauth: there is nothing to ask with.
        """
        ...


@frozen(kw_only=True)
class ClientCredentials:
    """The client's own rights (RFC 6749, section 4.4)."""

    scope: str | None = None
    """Rights that are asked for, with spaces between them. Default: what the provider gives without being asked."""
    more: Mapping[str, Secret] = field(factory=dict[str, Secret], converter=_hidden, repr=False)
    """Further fields that the provider wants, such as ``audience``: texts, kept as secrets."""

    def form(self, held: Tokens | None, now: float) -> Mapping[str, str]:
        """The fields of the token request."""
        return {"grant_type": "client_credentials", **_scope(self.scope), **_shown(self.more)}


@frozen(kw_only=True)
class RefreshToken:
    """The rights that somebody consented to (RFC 6749, section 6).

    Store the first tokens with :meth:`TokenKeeper.store`. Where the provider gives a new refresh token with each access
    token, the new one is stored before anything is done with it.
    """

    scope: str | None = None
    """As for :class:`ClientCredentials`. Default: all that was consented to."""
    more: Mapping[str, Secret] = field(factory=dict[str, Secret], converter=_hidden, repr=False)
    """Further fields that the provider wants: texts, kept as secrets."""

    def form(self, held: Tokens | None, now: float) -> Mapping[str, str]:
        """The fields of the token request.

        :raises NeedsReauth: there is no refresh token, or it was refused before.
        """
        if held is None or held.refresh is None:
            raise NeedsReauth("there is no refresh token: authorise the connection and store its tokens", code="none")
        if held.is_spent:
            raise NeedsReauth("the refresh token was refused: authorise the connection anew", code="invalid_grant")
        return {
            "grant_type": "refresh_token",
            "refresh_token": held.refresh.reveal(),
            **_scope(self.scope),
            **_shown(self.more),
        }


@frozen(kw_only=True)
class JwtBearer:
    """Rights by a signed assertion (RFC 7523), as Salesforce and Google use it. Needs ``ratesync[auth]``.

    :raises ConfigurationError: PyJWT is not installed; or, at the first use, the key does not fit the algorithm.
    """

    key: Secret = field(converter=_secret)
    """A private key in PEM, or a shared secret for HS algorithms: a text, kept as a secret."""
    issuer: str
    """Who signs (claim ``iss``): the app, by the name that the provider knows it by."""
    audience: str
    """Whom the assertion is for (``aud``), as the provider wants it: often the address of its login."""
    subject: str | None = None
    """The user for whom the token is to be (``sub``). Default: none is named."""
    algorithm: str = "RS256"
    """How it is signed, by its name in RFC 7518."""
    key_id: str | None = None
    """Tells the provider which of the app's keys it is (``kid`` of the header). Default: not said."""
    lifetime: float = 180.0
    """Seconds for which an assertion holds."""
    claims: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)
    """Further claims."""
    scope: str | None = None
    """As for :class:`ClientCredentials`."""
    random: Random = field(factory=system_random, repr=False)
    """Makes each assertion's id (``jti``). Default: the system's."""

    def __attrs_post_init__(self) -> None:
        if find_spec("jwt") is None:
            raise ConfigurationError("PyJWT is not installed: pip install 'ratesync[auth]'")

    def form(self, held: Tokens | None, now: float) -> Mapping[str, str]:
        """The fields of the token request."""
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return {"grant_type": grant, "assertion": self._assertion(now), **_scope(self.scope)}

    def _assertion(self, now: float) -> str:
        import jwt

        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "iat": int(now),
            "exp": int(now + self.lifetime),
            "jti": operation_id(now, self.random),
            **({} if self.subject is None else {"sub": self.subject}),
            **self.claims,
        }
        headers = None if self.key_id is None else {"kid": self.key_id}
        try:
            return jwt.encode(claims, self.key.reveal(), algorithm=self.algorithm, headers=headers)
        except Exception as error:  # noqa: BLE001  PyJWT and cryptography raise many kinds, some with parts of the key
            problem = type(error).__name__
        raise ConfigurationError(f"the key cannot sign with {self.algorithm} ({problem})")


def _scope(scope: str | None) -> dict[str, str]:
    return {} if scope is None else {"scope": scope}
