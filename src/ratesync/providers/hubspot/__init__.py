"""HubSpot's CRM."""

from __future__ import annotations

from ratesync.providers.hubspot.hints import RESOURCES, HintedChange, HubSpotHints, read_hints
from ratesync.providers.hubspot.object_type import OBJECT_TYPES, ObjectType
from ratesync.providers.hubspot.provider import API_URL, HubSpotProvider
from ratesync.providers.hubspot.quotas import SEARCHES, Subscription, default_quotas

__all__ = [
    "API_URL",
    "OBJECT_TYPES",
    "RESOURCES",
    "SEARCHES",
    "HintedChange",
    "HubSpotHints",
    "HubSpotProvider",
    "ObjectType",
    "Subscription",
    "default_quotas",
    "read_hints",
]
