"""Salesforce."""

from __future__ import annotations

from ratesync.providers.salesforce.provider import API_VERSION, SalesforceProvider
from ratesync.providers.salesforce.quotas import Edition, default_quotas
from ratesync.providers.salesforce.sobject import OBJECTS, SObject

__all__ = ["API_VERSION", "OBJECTS", "Edition", "SObject", "SalesforceProvider", "default_quotas"]
