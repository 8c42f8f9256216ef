"""Adapters, built on ratesync.http, and what others are built of. Ready ones are in modules of their own."""

from __future__ import annotations

from ratesync.providers.account_provider import AccountOptions, AccountProvider
from ratesync.providers.bulk import Bulk
from ratesync.providers.credentials import Credentials
from ratesync.providers.feed import Feed, InstantForm
from ratesync.providers.http_provider import HttpOptions, HttpProvider
from ratesync.providers.json_hints import JsonHints
from ratesync.providers.json_schema import read_json_schema
from ratesync.providers.listing import Listing, Query, equal_to
from ratesync.providers.path import Path
from ratesync.providers.request_batch import RequestBatch
from ratesync.providers.resource import CREATE_ONCE, Resource, Route
from ratesync.providers.rest import RestProvider
from ratesync.providers.row import dig, needed_text, record_in, text_at
from ratesync.providers.row_batch import RowBatch

__all__ = [
    "CREATE_ONCE",
    "AccountOptions",
    "AccountProvider",
    "Bulk",
    "Credentials",
    "Feed",
    "HttpOptions",
    "HttpProvider",
    "InstantForm",
    "JsonHints",
    "Listing",
    "Path",
    "Query",
    "RequestBatch",
    "Resource",
    "RestProvider",
    "Route",
    "RowBatch",
    "dig",
    "equal_to",
    "needed_text",
    "read_json_schema",
    "record_in",
    "text_at",
]
