"""An adapter for Pipedrive."""

from __future__ import annotations

from ratesync.providers.pipedrive.account import PipedriveTokens, app_account, read_api_domain, token_account
from ratesync.providers.pipedrive.provider import PipedriveProvider
from ratesync.providers.pipedrive.quotas import Plan, default_quotas
from ratesync.providers.pipedrive.resource import (
    ACTIVITIES,
    DEALS,
    LEADS,
    NOTES,
    ORGANIZATIONS,
    PERSONS,
    PRODUCTS,
    RESOURCES,
    Feed,
    PipedriveResource,
    Prices,
)
from ratesync.providers.pipedrive.webhook import Delivery, WebhookReader

__all__ = [
    "ACTIVITIES",
    "DEALS",
    "LEADS",
    "NOTES",
    "ORGANIZATIONS",
    "PERSONS",
    "PRODUCTS",
    "RESOURCES",
    "Delivery",
    "Feed",
    "PipedriveProvider",
    "PipedriveResource",
    "PipedriveTokens",
    "Plan",
    "Prices",
    "WebhookReader",
    "app_account",
    "default_quotas",
    "read_api_domain",
    "token_account",
]
