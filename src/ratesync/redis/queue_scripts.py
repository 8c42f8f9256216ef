"""The scripts of the queue. Each is a file of its own behind the parts that all of them share."""

from __future__ import annotations

from functools import cache

from ratesync.redis.lua import Script

PARTS = ("shard", "box", "ends", "leases")
"""The files that every script of the queue begins with."""


@cache
def queue_script(name: str) -> Script:
    """The script ``scripts/queue/<name>.lua``."""
    return Script.load("queue", *PARTS, name)
