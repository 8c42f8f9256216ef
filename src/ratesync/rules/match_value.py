"""The values of match keys: how they are written, and which are the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any


def text_of(value: Any) -> str | None:
    """A value as it is searched for; None if it is no key: neither a text that says something nor a number."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return str(int(value)) if value == int(value) else repr(value)


def folded(text: str) -> str:
    """What two texts have in common that are the same but for case and blanks around."""
    return text.strip().casefold()


def spellings(text: str) -> tuple[str, ...]:
    """A text in the ways in which it is searched for, as a side may compare exactly: as it is, trimmed, and folded."""
    return tuple(dict.fromkeys((text, text.strip(), folded(text))))


def number_in(text: str) -> int | float | None:
    """The number that is written so and in no other way; None if it is none."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if str(number) == text and math.isfinite(number):
            return number
    return None


def json_forms(texts: Iterable[str]) -> list[str]:
    """Texts as a provider that compares JSON is asked for them: as texts, and as the numbers that they write."""
    return [
        form for text in texts for form in (json.dumps(text), text) if form is not text or number_in(text) is not None
    ]
