"""Values of properties: HubSpot has them all as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ratesync.errors import InvalidPayload
from ratesync.http.payload import json_object
from ratesync.model.operation import Fields
from ratesync.providers.row import instant_in

_LONGEST = 65_536
"""Characters of the longest text that HubSpot takes."""


def written(fields: Fields) -> dict[str, str]:
    """The properties to send. None clears a property, which HubSpot spells ``""``.

    :raises InvalidPayload: the fields are not ``{"properties": {...}}``, or a value is a list or an object.
    """
    strange = fields.keys() - {"properties"}
    if strange:
        raise InvalidPayload(f"only 'properties' can be written, not {', '.join(sorted(strange))}", path="fields")
    properties = json_object(fields.get("properties", {}))
    if properties is None:
        raise InvalidPayload("must be an object", path="fields.properties")
    return {name: _text(name, value) for name, value in properties.items()}


def agrees(sent: str, held: Any) -> bool:
    """Tell whether HubSpot's value is what was sent, as far as it stores it in a spelling of its own."""
    kept = "" if held is None else str(held)
    if _plain(sent) == _plain(kept):
        return True
    number, other = _number(sent), _number(kept)
    if number is not None and other is not None:
        return number == other
    moment = instant_in(sent)
    return moment is not None and moment == instant_in(kept)


def all_agree(sent: Mapping[str, str], held: Mapping[str, Any]) -> bool:
    """Tell whether a record has every value that was sent."""
    return all(agrees(value, held.get(name)) for name, value in sent.items())


def plain(value: Any) -> str | None:
    """A unique value as HubSpot compares it: regardless of case and of space around; None for none."""
    return _plain(value) or None if isinstance(value, str) else None


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        text = str(value)
        if len(text) > _LONGEST:
            raise InvalidPayload(f"is longer than {_LONGEST} characters", path=f"fields.properties.{name}")
        return text
    raise InvalidPayload("must be text, a number, a bool or null", path=f"fields.properties.{name}")


def _plain(text: str) -> str:
    return text.strip().casefold()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
