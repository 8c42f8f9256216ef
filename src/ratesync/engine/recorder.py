"""Adapters of which every call can be noted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from ratesync.protocols import RecordsRequests

_FOREIGN = frozenset({"aiohttp", "httpcore", "httpx", "httpx2", "niquests", "pycurl", "requests", "urllib3"})
"""Packages whose clients send: an adapter that holds one may call past its caller."""


def records_requests(provider: object) -> bool:
    """Tell whether an adapter holds a caller that notes calls in a dry run, and nothing that sends past it."""
    held = list(_held(provider))
    return any(isinstance(each, RecordsRequests) for each in held) and not any(
        type(each).__module__.partition(".")[0] in _FOREIGN for each in held
    )


def _held(owner: object) -> Iterator[object]:
    names = {name for kind in type(owner).__mro__ for name in _slots(kind)} | set(getattr(owner, "__dict__", ()))
    for name in names:
        value = getattr(owner, name, None)
        if isinstance(value, Mapping):
            yield from cast("Mapping[object, object]", value).values()
        elif isinstance(value, list | tuple):
            yield from cast("Sequence[object]", value)
        else:
            yield value


def _slots(kind: type) -> tuple[str, ...]:
    slots: str | Iterable[str] = kind.__dict__.get("__slots__", ())
    named = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name for name in named)
