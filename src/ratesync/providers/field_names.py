"""The names of fields, as somebody who describes a record type gives them."""

from __future__ import annotations

from collections.abc import Iterable


def field_names(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in their order. One text is one name."""
    return (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
