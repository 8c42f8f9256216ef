"""Providers that have no empty text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ratesync.mapping.codec import Codec


def blank_is_none(codec: Codec) -> Codec:
    """The same codec where a text with nothing or only white space in it is None, as it is for many providers."""

    def without_blank(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def translate(value: Any) -> Any:
            if isinstance(value, str) and not value.strip():
                return None
            found = function(value)
            return None if isinstance(found, str) and not found.strip() else found

        return translate

    return Codec(without_blank(codec.decode), codec.encode, without_blank(codec.canon), samples=codec.samples)
