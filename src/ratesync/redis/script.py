"""The script that every exchange of the limiter runs."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from ratesync.redis.lua import Script

PARTS = ("root", "log", "estimate", "bucket", "holders", "wants", "exchange")
"""The files of ``scripts/``, in the order in which they are one script."""


@cache
def exchange_script() -> Script:
    """The script."""
    folder = files("ratesync.redis") / "scripts"
    text = "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in PARTS)
    return Script.of("exchange", text)
