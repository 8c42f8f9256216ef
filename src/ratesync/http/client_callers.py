"""The accounts of an adapter that calls over the host's own client."""

from __future__ import annotations

from typing import Any

import httpx
from attrs import define, field
from typing_extensions import override

from ratesync.errors import ConfigurationError
from ratesync.http.accounts import Account, AccountCallers
from ratesync.http.caller import HttpCaller
from ratesync.http.exchange import HttpClient


@define
class ClientCallers(AccountCallers):
    """A caller for each connection, all over one client of the host's, which is never closed here.

    Args:
        client: An ``httpx.AsyncClient`` or one of httpx2's. Its base URL holds where neither account nor adapter has
            one.
    """

    client: HttpClient[Any] = field(repr=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.guard is not None or self.transport is not None:
            raise ConfigurationError("a client has its own transport: leave guard and transport out")
        self.transport = httpx.AsyncBaseTransport()  # nothing goes over it, so that no pool is made
        super().__attrs_post_init__()

    @override
    def _made(self, account: Account) -> HttpCaller:
        return HttpCaller(
            account.base_url or self.base_url,
            client=self.client,
            headers=self.headers,
            auth=account.auth,
            timeout=self.timeout,
            max_response_bytes=self.max_response_bytes,
        )
