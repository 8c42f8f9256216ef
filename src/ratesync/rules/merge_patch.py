"""The smallest patch between two states of a record, in the form of a JSON merge patch, and applying one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ratesync.rules.sameness import is_same


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What must be sent to make ``new`` of ``old``: objects by their changed members, a list whole, None for what goes.

    A patch cannot tell a member that goes from one that becomes null; both are None.
    """
    patch: dict[str, Any] = {}
    for name, value in new.items():
        if name not in old:
            patch[name] = value
            continue
        held = old[name]
        if held is value:
            continue
        if isinstance(value, dict) and isinstance(held, dict):
            if inner := diff(cast("dict[str, Any]", held), cast("dict[str, Any]", value)):
                patch[name] = inner
        elif not is_same(held, value):
            patch[name] = value
    for name, value in old.items():
        if name not in new and value is not None:
            patch[name] = None
    return patch


def first_emptied(old: Mapping[str, Any], patch: Mapping[str, Any]) -> str | None:
    """The path of the first member that a patch empties; None if it empties none. One that was empty stays as it is."""
    for name, value in patch.items():
        held = old.get(name)
        if isinstance(value, dict) and isinstance(held, dict):
            inner = first_emptied(cast("dict[str, Any]", held), cast("dict[str, Any]", value))
            if inner is not None:
                return f"{name}.{inner}"
        elif value is None and held is not None:
            return name
    return None


def apply(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """What a server holds after a patch: objects are merged, everything else is replaced.

    None becomes null, as most servers have it. A server that keeps to RFC 7396 takes the member away instead.
    """
    new = dict(old)
    for name, value in patch.items():
        held = new.get(name)
        if isinstance(value, dict) and isinstance(held, dict):
            new[name] = apply(cast("dict[str, Any]", held), cast("dict[str, Any]", value))
        else:
            new[name] = value
    return new
