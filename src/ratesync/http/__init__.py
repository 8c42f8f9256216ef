"""Talking HTTP to providers: a safe client, and reading what answers mean."""

from __future__ import annotations

from ratesync.http.caller import HttpCaller
from ratesync.http.exchange import HttpClient
from ratesync.http.fast import fast_transport
from ratesync.http.headers import Headers
from ratesync.http.outcome import read_outcome
from ratesync.http.response import Response

__all__ = ["Headers", "HttpCaller", "HttpClient", "Response", "fast_transport", "read_outcome"]
