"""A script that a server runs."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Self

from attrs import frozen


@frozen
class Script:
    """A Lua script, and the name by which a server knows it once it has seen it."""

    name: str
    text: str
    sha1: str

    @classmethod
    def of(cls, name: str, text: str) -> Self:
        """A script of that text."""
        return cls(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    @classmethod
    def load(cls, folder: str, *parts: str) -> Self:
        """The script of the files ``scripts/<folder>/<part>.lua``, joined in that order and named for the last."""
        place = files("ratesync.redis") / "scripts" / folder
        text = "\n".join((place / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
        return cls.of(f"{folder}/{parts[-1]}", text)
