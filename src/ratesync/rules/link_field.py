"""The Link header field (RFC 8288), read with tolerance."""

from __future__ import annotations

import re

LONGEST_FIELD = 16_384
"""Characters of a field that are read."""

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_LINK = re.compile(rf"<(?P<target>[^<>]*)>(?P<params>(?:{_STRING}|[^\",<])*+)", re.DOTALL)
_REL = re.compile(rf";\s*rel\s*=\s*(?P<value>{_STRING}|[^\s;,\"]+)", re.IGNORECASE | re.DOTALL)


def link_with(field: str, relation: str) -> str | None:
    """The target of the first link that has the relation, such as ``next``; None if there is none. Never raises."""
    for link in _LINK.finditer(field[:LONGEST_FIELD]):
        named = _REL.search(link["params"])  # of several rel parameters only the first counts
        if named is not None and relation.lower() in named["value"].strip('"').lower().split():
            return link["target"].strip() or None
    return None
