"""Paths with places for names in them, as in ``/contacts/{record_id}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from urllib.parse import quote

from attrs import Factory, field, frozen

from ratesync.errors import ConfigurationError, InvalidPayload

PLACES = frozenset({"connection", "record_id", "resource"})
"""What a path may name."""

_SEPARATORS = re.compile(r"[/\\]")
_DOTS = frozenset({".", ".."})


def _places(path: Path) -> frozenset[str]:
    template = path.template
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationError(f"path {template!r}: {error}") from None
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ConfigurationError(f"path {template!r}: a place is a name in braces, without a format")
    places = frozenset(name for _, name, _, _ in parts if name is not None)
    if not places <= PLACES:
        raise ConfigurationError(f"path {template!r}: only {', '.join(sorted(PLACES))} can stand in braces")
    return places


@frozen
class Path:
    """A path with places. Every value fills one segment, or one part of it, and cannot get out of it."""

    template: str
    places: frozenset[str] = field(init=False, repr=False, default=Factory(_places, takes_self=True))

    def fill(self, values: Mapping[str, str]) -> str:
        """The path with each place filled by its percent-encoded value.

        :raises InvalidPayload: a value is empty, has a segment ``.`` or ``..`` or is not Unicode text: the path would
            lead somewhere else (an empty id: to the whole collection).
        """
        return self.template.format_map({place: _segment(place, values[place]) for place in self.places})


def path_of(template: str | Path) -> Path:
    """The path of a template; a path as it is."""
    return template if isinstance(template, Path) else Path(template)


def path_if_any(template: str | Path | None) -> Path | None:
    """As :func:`path_of`; None of None."""
    return None if template is None else path_of(template)


def _segment(place: str, value: str) -> str:
    if not value or not _DOTS.isdisjoint(_SEPARATORS.split(value)):
        raise InvalidPayload("cannot be part of a path: it is empty or has a segment of dots", path=place)
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise InvalidPayload("cannot be part of a path: it is not Unicode text", path=place) from None
