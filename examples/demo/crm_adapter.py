"""The adapter: what somebody writes to sync with this CRM. Everything else comes with ratesync."""

from __future__ import annotations

from ratesync.http.fast import fast_transport
from ratesync.providers import CREATE_ONCE, Resource, RestProvider, Route

from .crm_options import CrmAccount

PROVIDER = "crm"


def crm_provider(url: str, accounts: tuple[CrmAccount, ...]) -> RestProvider:
    """Speaks to the CRM at `url`, for each account with its own token."""
    tokens = {account.name: account.token for account in accounts}
    record = "/accounts/{connection}/{resource}/{record_id}"
    return RestProvider(
        PROVIDER,
        base_url=url,
        resources=Resource(
            create=None,
            create_with_id=Route("PUT", record, CREATE_ONCE.headers),
            read=Route("GET", record),
            update=Route("PATCH", record),
            delete=Route("DELETE", record),
        ),
        transport=fast_transport(max_connections=40),
        credentials=lambda connection: {"Authorization": f"Bearer {tokens[connection]}"},
    )
