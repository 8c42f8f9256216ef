"""The script that every exchange runs."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

PARTS = ("root", "log", "estimate", "bucket", "holders", "wants", "exchange")
"""The files of ``scripts/``, in the order in which they are one script."""


@cache
def exchange_script() -> str:
    """The text of the script."""
    folder = files("ratesync.redis") / "scripts"
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in PARTS)


@cache
def exchange_digest() -> str:
    """The name by which a server knows the script once it has seen it."""
    return hashlib.sha1(exchange_script().encode(), usedforsecurity=False).hexdigest()
