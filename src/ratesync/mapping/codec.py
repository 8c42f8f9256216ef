"""How one value is translated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen


def same(value: Any) -> Any:
    """Give the value as it is."""
    return value


@frozen
class Codec:
    """Translates one value between the provider's spelling and the view's, both ways.

    Three pure functions, and perhaps examples. What the view holds is JSON, in one spelling for each meaning (its
    canonical form): amounts are text, instants are ISO 8601 in UTC. None and missing values never reach a codec.

    A codec is lawful if ``decode(encode(canon(v))) == canon(v)`` and ``canon(canon(v)) == canon(v)``; what loses
    something on purpose (cut text, lower case) does so in ``canon`` and ``decode``, where everybody sees it.
    A function that cannot translate a value raises :class:`Refused` (or any error, which then tells less).
    """

    decode: Callable[[Any], Any] = same
    """From the provider's value to the view's, in canonical form."""
    encode: Callable[[Any], Any] = same
    """From the view's value in canonical form to the provider's."""
    canon: Callable[[Any], Any] = same
    """From what the host gives to the canonical form."""
    samples: tuple[Any, ...] = field(default=(), kw_only=True)
    """Values of the view that nobody would guess, such as the names of a choice: tests of the laws try them."""


AS_IS = Codec()
"""Values that both sides spell alike."""
