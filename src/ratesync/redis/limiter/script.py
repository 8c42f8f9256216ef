"""The script that every exchange of the limiter runs."""

from __future__ import annotations

from functools import cache

from ratesync.redis.server.lua import Script

PARTS = ("root", "log", "estimate", "bucket", "holders", "bells", "wants", "exchange")
"""The files of ``scripts/limiter/``, in the order in which they are one script."""


@cache
def exchange_script() -> Script:
    """The script."""
    return Script.load("limiter", *PARTS)
