"""Lists with parameters in a header field, as of RFC 9651, read with tolerance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

LONGEST_FIELD = 1000
"""Characters of a field that are read."""
MOST_ITEMS = 20
"""Items of a list that are read, and parameters of an item."""

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
"""A string, ended or cut off: it always matches where it begins, so that reading takes linear time on any input."""
_MEMBER = re.compile(rf"(?:{_STRING}|[^\",])+", re.DOTALL)
_PART = re.compile(rf"(?:{_STRING}|[^\";])+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Item(NamedTuple):
    """``"name";q=100;w=60``: strings are without their quotes, numbers are text still."""

    value: str
    params: Mapping[str, str]


def parse_items(field: str) -> list[Item]:
    """The items of a list. Never raises: what is no item is left out or read as well as can be."""
    if not field or field.isalnum():  # as most are
        return [Item(field[:LONGEST_FIELD], {})] if field else []
    return [_item(member) for member in _pieces(_MEMBER, field[:LONGEST_FIELD])]


def _item(member: str) -> Item:
    value, *params = _pieces(_PART, member) or [""]
    pairs = (param.partition("=") for param in params)
    return Item(_bare(value), {name.strip().lower(): _bare(text) for name, _, text in pairs})


def _pieces(pattern: re.Pattern[str], text: str) -> list[str]:
    pieces = (match[0].strip() for match in pattern.finditer(text))
    return list(islice(filter(None, pieces), MOST_ITEMS))


def _bare(text: str) -> str:
    text = text.strip()
    if not text.startswith('"'):
        return text
    return _ESCAPED.sub(r"\1", text[1:].removesuffix('"'))
