"""Talking HTTP to providers: a safe client, and reading what answers mean."""

from __future__ import annotations

from ratesync.http.accounts import Account, AccountCallers, Accounts
from ratesync.http.auth import ApiKey, Basic, Bearer, BoundTransport, Chain, OAuth2, OnlyAt, QueryKey
from ratesync.http.bisection import bisect_refused
from ratesync.http.caller import HttpCaller
from ratesync.http.embedded import embedded_response, embedded_responses
from ratesync.http.exchange import HttpClient
from ratesync.http.fast import fast_transport
from ratesync.http.feedback import ThrottleReader, read_feedback
from ratesync.http.grants import ClientCredentials, Grant, JwtBearer, RefreshToken
from ratesync.http.guard import AddressGuard
from ratesync.http.headers import Headers
from ratesync.http.log_filter import redact_http_logs
from ratesync.http.outcome import read_answer, read_outcome
from ratesync.http.pages import Page, Pages
from ratesync.http.refusal import refusal_in
from ratesync.http.response import Response
from ratesync.http.signing import HmacSigned
from ratesync.http.throttle_readers import (
    github_throttle,
    hubspot_throttle,
    salesforce_throttle,
    shopify_throttle,
    stripe_throttle,
)
from ratesync.http.token_endpoint import TokenEndpoint
from ratesync.http.token_keeper import TokenKeeper
from ratesync.http.vault import Cipher, FernetCipher, LocalVault, StateVault, Vault
from ratesync.http.webhooks import SeenStore, StateSeen, Webhook, WebhookVerifier
from ratesync.rules.matching import match_rows
from ratesync.rules.paging import Cursor, Keyset, NextLink, Offset, PageNumber, Pager
from ratesync.rules.tokens import Tokens
from ratesync.rules.webhook import HmacSignature, HubSpotV3, StandardWebhooks, StripeSignature

__all__ = [
    "Account",
    "AccountCallers",
    "Accounts",
    "AddressGuard",
    "ApiKey",
    "Basic",
    "Bearer",
    "BoundTransport",
    "Chain",
    "Cipher",
    "ClientCredentials",
    "Cursor",
    "FernetCipher",
    "Grant",
    "Headers",
    "HmacSignature",
    "HmacSigned",
    "HttpCaller",
    "HttpClient",
    "HubSpotV3",
    "JwtBearer",
    "Keyset",
    "LocalVault",
    "NextLink",
    "OAuth2",
    "Offset",
    "OnlyAt",
    "Page",
    "PageNumber",
    "Pager",
    "Pages",
    "QueryKey",
    "RefreshToken",
    "Response",
    "SeenStore",
    "StandardWebhooks",
    "StateSeen",
    "StateVault",
    "StripeSignature",
    "ThrottleReader",
    "TokenEndpoint",
    "TokenKeeper",
    "Tokens",
    "Vault",
    "Webhook",
    "WebhookVerifier",
    "bisect_refused",
    "embedded_response",
    "embedded_responses",
    "fast_transport",
    "github_throttle",
    "hubspot_throttle",
    "match_rows",
    "read_answer",
    "read_feedback",
    "read_outcome",
    "redact_http_logs",
    "refusal_in",
    "salesforce_throttle",
    "shopify_throttle",
    "stripe_throttle",
]
