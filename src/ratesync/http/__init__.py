"""Talking HTTP to providers: a safe client, and reading what answers mean."""

from __future__ import annotations

from ratesync.http.caller import HttpCaller
from ratesync.http.exchange import HttpClient
from ratesync.http.fast import fast_transport
from ratesync.http.feedback import ThrottleReader, read_feedback
from ratesync.http.headers import Headers
from ratesync.http.outcome import read_answer, read_outcome
from ratesync.http.pages import Page, Pages
from ratesync.http.refusal import refusal_in
from ratesync.http.response import Response
from ratesync.http.throttle_readers import (
    github_throttle,
    hubspot_throttle,
    salesforce_throttle,
    shopify_throttle,
    stripe_throttle,
)
from ratesync.rules.paging import Cursor, Keyset, NextLink, Offset, PageNumber, Pager

__all__ = [
    "Cursor",
    "Headers",
    "HttpCaller",
    "HttpClient",
    "Keyset",
    "NextLink",
    "Offset",
    "Page",
    "PageNumber",
    "Pager",
    "Pages",
    "Response",
    "ThrottleReader",
    "fast_transport",
    "github_throttle",
    "hubspot_throttle",
    "read_answer",
    "read_feedback",
    "read_outcome",
    "refusal_in",
    "salesforce_throttle",
    "shopify_throttle",
    "stripe_throttle",
]
