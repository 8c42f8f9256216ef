"""HTML that is safe to show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

_MOST_ROUNDS = 5


def html(*, tags: Iterable[str] | None = None) -> Codec:
    """HTML without scripts, event handlers, styles and forms, cleaned in both directions. Needs the extra ``mapping``.

    What is taken out is lost in the view; the provider keeps its own until the value changes.

    :param tags: the elements that may stay. None: those of ordinary writing. Empty: none, only their text.
    :raises ConfigurationError: nh3 is not installed.
    """
    try:
        import nh3
    except ImportError:
        raise ConfigurationError("nh3 is not installed: pip install 'ratesync[mapping]'") from None
    allowed = None if tags is None else set(tags)

    def canon(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("type", "must be text", value)
        # What is left over may come together to something new, so it is cleaned until nothing changes.
        for _ in range(_MOST_ROUNDS):
            cleaned = nh3.clean(value, tags=allowed)
            if cleaned == value:
                return cleaned
            value = cleaned
        raise Refused("invalid", "cannot be cleaned: it changes each time", value)

    return Codec(canon, canon, canon)
