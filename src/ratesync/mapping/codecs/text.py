"""Text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

_CASES: dict[str | None, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper, "fold": str.casefold}


def text(
    *,
    strip: bool = False,
    case: Literal["lower", "upper", "fold"] | None = None,
    max_length: int | None = None,
    truncate: bool = False,
) -> Codec:
    """Text. Nothing else is made text: None is not "None", 5 is not "5".

    :param strip: without white space at both ends.
    :param case: in one case. The provider keeps its own spelling until the value changes.
    :param max_length: most characters. More is a mistake ("too_long").
    :param truncate: cut what is longer instead. What is cut off is lost.
    """
    if not (strip or case or max_length is not None):
        return Codec(_checked, _checked, _checked)
    turn = _CASES.get(case)

    def canon(value: Any) -> str:
        given = _checked(value)
        if strip:
            given = given.strip()
        if turn is not None:
            given = turn(given)
        if max_length is not None and len(given) > max_length:
            if not truncate:
                raise Refused("too_long", f"must have at most {max_length} characters", given)
            given = given[:max_length].rstrip() if strip else given[:max_length]
        return given

    return Codec(canon, canon, canon)


def _checked(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Refused("type", "must be text", value)
