"""Queries, in Salesforce's language for them.

https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from ratesync.providers.salesforce.sobject import ID, SObject

QUERY_MAX = 2_000
"""Most records on a page of a query."""
ALL_FIELDS_MAX = 200
"""Most records of a query that asks for all fields."""

_ALL = "FIELDS(ALL)"
_ESCAPES = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\b": "\\b",
    "\f": "\\f",
}


def page_max(described: SObject) -> int:
    """Most records on a page of that type."""
    return QUERY_MAX if described.fields else ALL_FIELDS_MAX


def select(described: SObject, name: str, more: str, *, limit: int, also: Iterable[str] = ()) -> str:
    """The query for records of a type.

    :param more: its conditions and order. :param also: fields to ask for besides.
    """
    fields = ",".join(dict.fromkeys((*described.asked, *also))) if described.fields else _ALL
    # Names are checked where they come in (is_name), and values are literals.
    return f"SELECT {fields} FROM {name} {more} LIMIT {max(1, min(limit, page_max(described)))}"  # noqa: S608


def changed_behind(described: SObject, since: datetime, after_id: str | None) -> str:
    """Conditions and order of what changed at an instant with a higher id, or later; without an id, then or later."""
    changed, at = described.changed_field, instant_literal(since)
    condition = f"{changed} >= {at}"
    if after_id is not None:
        condition = f"({changed} > {at} OR ({changed} = {at} AND {ID} > {literal(after_id)}))"
    return f"WHERE {condition} ORDER BY {changed} ASC, {ID} ASC"


def behind_id(after_id: str | None) -> str:
    """Conditions and order of all records with a higher id."""
    condition = "" if after_id is None else f"WHERE {ID} > {literal(after_id)} "
    return f"{condition}ORDER BY {ID} ASC"


def one_of(name: str, values: Iterable[str]) -> str:
    """The condition that a field has one of the values."""
    return f"WHERE {name} IN ({','.join(map(literal, values))})"


def literal(text: str) -> str:
    """A text in quotes. Whatever is in it stays text."""
    return "'" + "".join(_escaped(character) for character in text) + "'"


def instant_literal(instant: datetime) -> str:
    """An instant, in UTC and without a plus sign, which URLs would have to encode."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03}Z"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() or not character.isascii() else f"\\u{ord(character):04x}"
