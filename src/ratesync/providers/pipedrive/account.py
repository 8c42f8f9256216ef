"""How Pipedrive is called for one company: by a user's API token, or by an app's OAuth tokens.

https://pipedrive.readme.io/docs/core-api-concepts-authentication and ``marketplace-oauth-authorization``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ratesync.clock import Clock
from ratesync.errors import ConfigurationError, InvalidResponse
from ratesync.http.accounts import Account
from ratesync.http.auth import ApiKey, OAuth2
from ratesync.http.payload import json_object
from ratesync.http.response import Response
from ratesync.http.token_endpoint import TIMEOUT, TokenEndpoint
from ratesync.http.token_keeper import TokenKeeper
from ratesync.model.secret import Secret
from ratesync.rules.tokens import Tokens

if TYPE_CHECKING:
    import httpx

API_URL = "https://api.pipedrive.com"
"""Serves every company; a company's own domain is nearer to its data."""
TOKEN_URL = "https://oauth.pipedrive.com/oauth/token"  # noqa: S105  no secret, but where to ask for one

_log = logging.getLogger("ratesync")

_DOMAIN = re.compile(r"https://([a-z0-9-]{1,63}\.)?pipedrive\.com/?", re.ASCII)
_COMPANY = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)


def token_account(api_token: str | Secret, company: str | None = None) -> Account:
    """The account of a user's API token.

    :param company: the company's domain: ``acme`` of ``acme.pipedrive.com``. Default: the address that serves all.
    :raises ConfigurationError: that is no domain.
    """
    if company is not None and not _COMPANY.fullmatch(company):
        raise ConfigurationError("company is the first word of its domain: acme of acme.pipedrive.com")
    url = None if company is None else f"https://{company}.pipedrive.com"
    return Account(ApiKey(api_token, header="x-api-token"), base_url=url)


def app_account(keeper: TokenKeeper, api_domain: str | None = None) -> Account:
    """The account of an app that the company has installed.

    :param api_domain: as the token endpoint told it (:func:`read_api_domain`). Default: the address that serves all.
    :raises ConfigurationError: that is not at Pipedrive.
    """
    return Account(OAuth2(keeper), base_url=None if api_domain is None else _checked(api_domain))


def read_api_domain(answer: Mapping[str, Any]) -> str | None:
    """Where the company's API is, out of an answer of the token endpoint; None if it does not tell.

    :raises ConfigurationError: it is not at Pipedrive, so that no token may be sent there.
    """
    told = answer.get("api_domain")
    return _checked(told) if isinstance(told, str) and told else None


class PipedriveTokens(TokenEndpoint):
    """Pipedrive's token endpoint. An access token lives for an hour, a refresh token for 60 days after its last use.

    :param client_id: the app's. :param client_secret: the app's.
    :param on_domain: told the company's ``api_domain`` whenever tokens were had: keep it beside them. What it raises is
        logged by its type (logger ``ratesync``), and the tokens are good all the same.
    :param url: for tests. :param transport: of httpx's kind, closed with the endpoint. :param timeout: seconds.
    :param clock: tells from when a token lives. Default: the system's.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str | Secret,
        *,
        on_domain: Callable[[str], None] | None = None,
        url: str = TOKEN_URL,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = TIMEOUT,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            url,
            client_id=client_id,
            client_secret=client_secret,
            transport=transport,
            timeout=timeout,
            clock=clock,
        )
        self._on_domain = on_domain

    @override
    def _read(self, response: Response, asked_at: float, held: Tokens | None) -> Tokens:
        tokens = super()._read(response, asked_at, held)
        try:
            domain = read_api_domain(json_object(response.json()) or {})
        except (ConfigurationError, InvalidResponse):
            domain = None  # the tokens are good, and go to where the host has the account
        if domain is not None:
            self._tell(domain)
        return tokens

    def _tell(self, domain: str) -> None:
        """Tell the host, whose function may not take the tokens along: the refresh token before them is used up."""
        if self._on_domain is None:
            return
        try:
            self._on_domain(domain)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  a function of the host's may raise anything
            # The type only: what it raises may be private.
            _log.error("on_domain raised %s: it is told again when tokens are renewed", type(error).__name__)


def _checked(api_domain: str) -> str:
    if not _DOMAIN.fullmatch(api_domain):
        raise ConfigurationError("api_domain must be an https address at pipedrive.com: no token is sent elsewhere")
    return api_domain.rstrip("/")
