"""One value of the view out of a list of the provider's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from attrs import field, frozen

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import AS_IS, Codec
from ratesync.mapping.field_error import Refused
from ratesync.mapping.missing import MISSING
from ratesync.mapping.part import Data, Part
from ratesync.mapping.path import Path, fetcher, parse_path, storer
from ratesync.rules.sameness import is_same


@frozen
class FirstOf:
    """One entry of a list: the first, or the first that has the members given as ``where``. The others stay.

    An empty list is None in the view. Taking the value away takes away an entry found by ``where``; at the head of
    other entries it leaves null behind, as otherwise the next would be taken for it.
    """

    name: str
    """In the view."""
    path: str
    """Of the list, in the provider's record."""
    codec: Codec = AS_IS
    """Of the value. Default: both sides spell it alike."""
    item: str | None = field(default=None, kw_only=True)
    """The member of an entry that holds the value. None: the entry is the value."""
    where: Mapping[str, Any] = field(factory=dict[str, Any], kw_only=True)
    """Members that the entry must have, such as ``{"primary": True}``."""
    new: Mapping[str, Any] = field(factory=dict[str, Any], kw_only=True)
    """Further members of an entry that is made, such as ``{"label": "work"}``."""
    required: bool = field(default=False, kw_only=True)
    """A create must have it, and nothing may clear it."""
    replaces: bool = field(default=False, kw_only=True)
    """What an update does that does not know the list: send a list of this one value, so that the others are lost, or
    (the default) be refused. :meth:`Mapping.patch` knows the list."""
    match_key: bool = field(default=False, kw_only=True)
    """As :attr:`Field.match_key`: the provider must find records by a value of the list, searched for at ``path``."""

    def compile(self) -> Part:
        """Make the functions of this line."""
        if self.item is None and (self.where or self.new):
            raise ConfigurationError(f"FirstOf {self.name!r}: `where` and `new` need `item`, the member of the value")
        path = parse_path(self.path)
        find = _finder(self, path)
        return Part(
            self.path,
            (self.name,),
            (path,),
            read=_reader(self, find),
            write=_writer(self, path, find),
            touch=_toucher(self, path),
            canon=_canoniser(self),
        )


Find = Callable[[Data], tuple[list[Any], int, Any]]
"""The list, the index of the entry (-1: none) and its raw value (None: none)."""


def _finder(line: FirstOf, path: Path) -> Find:
    fetch, item, where = fetcher(path), line.item, dict(line.where)

    def find(record: Data) -> tuple[list[Any], int, Any]:
        held = fetch(record)
        if held is MISSING or held is None:
            return [], -1, None
        if not isinstance(held, list):
            raise Refused("type", "must be a list", held)
        entries = cast("list[object]", held)
        for index, entry in enumerate(entries):
            if item is None:
                return entries, index, entry
            if not isinstance(entry, dict):
                raise Refused("type", "must be an object", entry, at=f"[{index}]")
            members = cast("dict[str, Any]", entry)
            if all(is_same(members.get(name), value) for name, value in where.items()):
                return entries, index, members.get(item)
        return entries, -1, None

    return find


def _reader(line: FirstOf, find: Find) -> Any:
    name, decode = line.name, line.codec.decode

    def read(record: Data, view: Data) -> None:
        _, _, value = find(record)
        view[name] = None if value is None else decode(value)

    return read


def _writer(line: FirstOf, path: Path, find: Find) -> Any:
    store = storer(path)
    name, required, decode = line.name, line.required, line.codec.decode
    entry_of, canon, encode = _entry_maker(line), line.codec.canon, line.codec.encode

    def write(record: Data, view: Data, creating: bool) -> None:  # noqa: FBT001
        value = view.get(name)
        if value is not None:
            value = canon(value)
        entries, index, raw = find(record)
        if value is None:
            if required and (creating or raw is not None):
                raise Refused("required", "must be given")
            if raw is not None:
                store(record, _without(line, entries, index))
            return
        if raw is None or not _means(decode, raw, value):
            store(record, _with(entries, index, entry_of(entries, index, encode(value))))

    return write


def _means(decode: Callable[[Any], Any], raw: Any, value: Any) -> bool:
    try:
        return is_same(decode(raw), value)
    except Exception:  # noqa: BLE001  what cannot be read is replaced
        return False


def _entry_maker(line: FirstOf) -> Callable[[list[Any], int, Any], Any]:
    item, made = line.item, {**line.new, **line.where}

    def entry_of(entries: list[Any], index: int, value: Any) -> Any:
        if item is None:
            return value
        return {**(made if index < 0 else entries[index]), item: value}

    return entry_of


def _with(entries: list[Any], index: int, entry: Any) -> list[Any]:
    return [entry, *entries] if index < 0 else [*entries[:index], entry, *entries[index + 1 :]]


def _without(line: FirstOf, entries: list[Any], index: int) -> list[Any]:
    before, after = entries[:index], entries[index + 1 :]
    if line.where:
        # A further entry with these members would be taken for the one that is gone.
        if any(all(is_same(entry.get(key), value) for key, value in line.where.items()) for entry in after):
            return [*before, {**entries[index], cast("str", line.item): None}, *after]
        return [*before, *after]
    if not after:
        return []
    return [None if line.item is None else {**entries[index], line.item: None}, *after]


def _toucher(line: FirstOf, path: Path) -> Any:
    name, required, canon, encode, store = line.name, line.required, line.codec.canon, line.codec.encode, storer(path)
    entry_of, replaces = _entry_maker(line), line.replaces

    def touch(record: Data, view: Data, may_be_new: bool) -> None:  # noqa: FBT001
        if name not in view:
            if required and may_be_new:
                raise Refused("required", "must be given, as the record may be new")
            return
        if not replaces:
            raise Refused(
                "needs_current",
                "is one of a list: sending it would drop the rest. Send Mapping.patch instead, or say replaces=True",
            )
        value = view[name]
        if value is not None:
            value = canon(value)
        if value is None:
            if required:
                raise Refused("required", "must not be None")
            store(record, [])
        else:
            store(record, [entry_of([], -1, encode(value))])

    return touch


def _canoniser(line: FirstOf) -> Any:
    name, canon = line.name, line.codec.canon

    def canonise(view: Data, canonical: Data) -> None:
        value = view.get(name)
        canonical[name] = None if value is None else canon(value)

    return canonise
