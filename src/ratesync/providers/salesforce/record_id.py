"""How operations name their record: by Salesforce's id, or by the value of an external id."""

from __future__ import annotations

import re

from ratesync.providers.salesforce.sobject import SObject

_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
_DOTS = frozenset({".", ".."})
_LENGTH = 15
_LONGEST_VALUE = 255


def is_id(text: str | None) -> bool:
    """Tell whether it can be one of Salesforce's ids: 15 letters and digits, or those and 3 more that check them."""
    return text is not None and _ID.fullmatch(text) is not None


def plain_id(record_id: str) -> str:
    """The id in its short form, which is the same for both."""
    return record_id[:_LENGTH]


def external_value(record_id: str | None, described: SObject) -> str | None:
    """The value in ``External_Id__c/value``; None if the name is not of that form, or of another field."""
    prefix = f"{described.external_id}/"
    if described.external_id is None or record_id is None or not record_id.startswith(prefix):
        return None
    value = record_id.removeprefix(prefix)
    is_usable = 0 < len(value) <= _LONGEST_VALUE and value.strip() == value and value not in _DOTS
    return value if is_usable and value.isprintable() else None


def plain_value(value: object) -> str:
    """A value of an external id as Salesforce compares it: regardless of case."""
    return str(value).casefold()
