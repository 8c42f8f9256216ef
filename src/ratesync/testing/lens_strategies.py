"""Views and records for the laws of a mapping, found out by trying what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from hypothesis import strategies as st

from ratesync.mapping import Field, FirstOf, InvalidFields, Mapping
from ratesync.mapping.path import Path, fetcher, parse_path, remover, storer

Data = dict[str, Any]
Strategy = st.SearchStrategy[Any]

EXTRA = "not mapped, surely"
"""A field of records that no mapping has."""

_SAMPLES: Sequence[Any] = (
    *(None, "", " ", "a", " Ada  Lovelace ", "0", "12", "12.50", "-7", "true", "false", "EUR", "<p>a &amp; b</p>"),
    *("ada@example.org", "Ada@Example.ORG", "+41446681800", "044 668 18 00", "2026-01-31", "09:30:00"),
    *("2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000+0000", "2026-01-31T09:30:00", "1769851800000"),
    *(0, 1, 12, -7, 1_769_851_800, 1_769_851_800_000, 2.0, 2.5, True, False, [], ["a"], ["a", "b"], [1], [None, "a"]),
)
"""What codecs are likely to take, in a view or in a record."""
_WORDS = st.text(st.characters(codec="utf-8"), max_size=6)
_KINDS: Sequence[tuple[Sequence[Any], Strategy]] = (
    (["", "b c", "\u00fc", "7"], _WORDS),
    ([0, -5, 10**9], st.integers()),
    ([0.5, -1e9], st.floats(allow_nan=False, allow_infinity=False)),
    ([[], ["a", ""], ["\u00fc"]], st.lists(_WORDS, max_size=3)),
)
"""Kinds of value that are tried at random, where these few of them are taken."""


def views_of(mapping: Mapping) -> st.SearchStrategy[Data]:
    """Views that the mapping can write.

    :raises ValueError: of some name no value is known that its codec takes.
    """
    missing = _mistakes(mapping.create, {})
    required = {name for path, code in missing if code == "required" for name in path.split(", ")}
    known = {line.name: line.codec.samples for line in mapping.lines if isinstance(line, Field | FirstOf)}
    values: dict[str, Strategy] = {}

    def takes(name: str, value: Any) -> bool:
        return _mistakes(mapping.create, {name: value}) <= missing

    for name in sorted(mapping.names - mapping.read_only):
        taken = _taken(partial(takes, name), known.get(name, ()))
        if taken is None:
            raise ValueError(f"no value is known that {name!r} takes: give its codec samples, or view= and external=")
        values[name] = taken
    must = {name: strategy for name, strategy in values.items() if name in required}
    may = {name: strategy for name, strategy in values.items() if name not in required}
    views: st.SearchStrategy[Data] = st.fixed_dictionaries(must, optional=may)
    return views.filter(lambda view: not _mistakes(mapping.create, view))


def records_of(mapping: Mapping) -> st.SearchStrategy[Data]:
    """Records that the mapping can read: what it makes of views, then changed as somebody may have at the provider."""
    before = _mistakes(mapping.get, {})

    def reads(store: Callable[[Any, Any], None], value: Any) -> bool:
        record: Data = {}
        store(record, value)
        return _mistakes(mapping.get, record) <= before

    paths = [parse_path(path) for path in mapping.paths]
    raw = {path: _taken(partial(reads, storer(path)), ()) for path in paths}
    return _changed(mapping, views_of(mapping), raw).filter(lambda record: not _mistakes(mapping.get, record))


@st.composite
def _changed(
    draw: st.DrawFn, mapping: Mapping, views: st.SearchStrategy[Data], raw: dict[Path, Strategy | None]
) -> Data:
    record, other = deepcopy(mapping.create(draw(views))), mapping.create(draw(views))
    for path, values in raw.items():
        match draw(st.sampled_from(["keep", "keep", "remove", "more", "replace"])):
            case "remove":
                remover(path)(record)
            case "more":
                _lengthen(record, other, path)
            case "replace" if values is not None:
                storer(path)(record, draw(values))
            case _:
                pass
    record[EXTRA] = draw(st.none() | _WORDS | st.lists(st.integers(), max_size=2))
    return record


def _lengthen(record: Data, other: Data, path: Path) -> None:
    """Put another record's entries before those of a list, each without one of its members."""
    fetch = fetcher(path)
    held, more = fetch(record), fetch(other)
    if held.__class__ is list and more.__class__ is list:
        storer(path)(record, [*map(_stripped, more), *held])


def _stripped(entry: Any) -> Any:
    return dict(list(entry.items())[:-1]) if entry.__class__ is dict else entry


def _taken(takes: Callable[[Any], bool], known: Iterable[Any]) -> Strategy | None:
    """Values that are taken; None if none are."""
    samples = [value for value in (*known, *_SAMPLES) if takes(value)]
    if not any(value is not None for value in samples):
        return None
    kinds = [strategy.filter(takes) for probes, strategy in _KINDS if all(map(takes, probes))]
    return st.one_of(st.sampled_from(samples), *kinds)


def _mistakes(function: Callable[[Data], object], given: Data) -> set[tuple[str, str]]:
    """Where and what, of all that a mapping has to say against a view or a record."""
    try:
        function(given)
    except InvalidFields as error:
        return {(each.path, each.code) for each in error.errors}
    return set()
