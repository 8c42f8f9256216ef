"""The scripts of the queue. Each is a file of its own behind the parts that all of them share."""

from __future__ import annotations

from functools import cache

from ratesync.redis.server.lua import Script

PARTS = ("shard", "box", "ends", "leases")
"""The files that the scripts of the queue begin with."""

OTHERS = {"enqueue": ("quick", "shard", "box", "ends")}
"""Those that need other ones: a server makes each function of a script anew whenever it runs it."""


@cache
def queue_script(name: str) -> Script:
    """The script ``scripts/queue/<name>.lua``."""
    return Script.load("queue", *OTHERS.get(name, PARTS), name)
