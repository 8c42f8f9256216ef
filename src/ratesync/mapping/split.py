"""One value of the view that is several of the provider's, or the other way round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import field, frozen

from ratesync.errors import ConfigurationError
from ratesync.mapping.field_error import Refused
from ratesync.mapping.missing import MISSING
from ratesync.mapping.part import Data, Part
from ratesync.mapping.path import Fetch, Path, Remove, Store, fetcher, parse_path, remover, storer
from ratesync.mapping.splitter import Pieces, Splitter, full_name
from ratesync.rules.sameness import is_same


@frozen
class Split:
    """One value of the view, several of the provider's. They keep their own spelling until the value changes."""

    name: str
    """In the view."""
    paths: Sequence[str]
    """In the provider's record, in the order of the codec's pieces."""
    codec: Splitter = field(factory=full_name)
    """Takes the value apart and puts it together. Default: first and last name."""
    required: bool = field(default=False, kw_only=True)
    """A create must have it, and nothing may clear it."""

    def compile(self) -> Part:
        """Make the functions of this line."""
        paths = tuple(parse_path(path) for path in self.paths)
        found = _Split.of(self, paths)
        place = ", ".join(self.paths)
        return Part(place, (self.name,), paths, found.read, found.write, found.touch, found.canonise)


@frozen
class _Split:
    name: str
    required: bool
    codec: Splitter
    fetches: Sequence[Fetch]
    stores: Sequence[Store]
    removes: Sequence[Remove]

    @classmethod
    def of(cls, line: Split, paths: Sequence[Path]) -> _Split:
        return cls(
            line.name,
            line.required,
            line.codec,
            [fetcher(path) for path in paths],
            [storer(path) for path in paths],
            [remover(path) for path in paths],
        )

    def read(self, record: Data, view: Data) -> None:
        value = self._held(record)
        if value is not MISSING:
            view[self.name] = value

    def write(self, record: Data, view: Data, creating: bool) -> None:  # noqa: FBT001
        if self.name not in view:
            held = self._held(record) if self.required else None
            if self.required and (creating or not (held is MISSING or held is None)):
                raise Refused("required", "must be given")
            for remove in self.removes:
                remove(record)
            return
        value = self._canon(view[self.name])
        if creating or not _is_held(lambda: self._held(record), value):
            self._send(record, value)

    def touch(self, record: Data, view: Data, may_be_new: bool) -> None:  # noqa: FBT001
        if self.name in view:
            self._send(record, self._canon(view[self.name]))
        elif self.required and may_be_new:
            raise Refused("required", "must be given, as the record may be new")

    def canonise(self, view: Data, canonical: Data) -> None:
        if self.name in view:
            canonical[self.name] = self._canon(view[self.name])

    def _held(self, record: Data) -> Any:
        pieces = [fetch(record) for fetch in self.fetches]
        if all(piece is MISSING for piece in pieces):
            return MISSING
        return self.codec.join(tuple(None if piece is MISSING else piece for piece in pieces))

    def _canon(self, whole: Any) -> Any:
        found = None if whole is None else self.codec.join((whole,))
        return None if found is None else self.codec.join(self.codec.split(found))

    def _send(self, record: Data, value: Any) -> None:
        if value is None and self.required:
            raise Refused("required", "must not be None")
        pieces = (None,) * len(self.stores) if value is None else self.codec.split(value)
        for store, piece in zip(self.stores, pieces, strict=True):
            store(record, piece)


def _is_held(held: Callable[[], Any], value: Any) -> bool:
    try:
        return is_same(held(), value)
    except Exception:  # noqa: BLE001  what cannot be read is replaced
        return False


@frozen
class Join:
    """Several values of the view, one of the provider's.

    Which word belongs to which value is decided by ``codec``, so that the view comes back as the codec splits it.
    """

    names: Sequence[str]
    """In the view, in the order of the codec's pieces: at least two."""
    path: str
    """In the provider's record."""
    codec: Splitter = field(factory=full_name)
    """Takes the provider's value apart and puts it together. Default: first and last name."""
    required: bool = field(default=False, kw_only=True)
    """A create must have something in one of them, and nothing may clear them all."""

    def compile(self) -> Part:
        """Make the functions of this line."""
        if len(self.names) < 2:  # noqa: PLR2004  else it is a Field
            raise ConfigurationError("Join takes at least two names: for one use Field")
        path, names = parse_path(self.path), tuple(self.names)
        found = _Join(names, self.required, self.codec, fetcher(path), storer(path))
        return Part(self.path, names, (path,), found.read, found.write, found.touch, found.canonise)


@frozen
class _Join:
    names: Sequence[str]
    required: bool
    codec: Splitter
    fetch: Fetch
    store: Store

    def read(self, record: Data, view: Data) -> None:
        view.update(zip(self.names, self._pieces(self.fetch(record)), strict=True))

    def write(self, record: Data, view: Data, creating: bool) -> None:  # noqa: FBT001
        whole, old = self._whole(view), self.fetch(record)
        is_held = _is_held(lambda: self._pieces(old), self._pieces(whole))
        if whole is None and self.required and (creating or not is_held):
            raise Refused("required", "must be given")
        if not is_held:
            self.store(record, whole)

    def touch(self, record: Data, view: Data, may_be_new: bool) -> None:  # noqa: FBT001
        given = [name for name in self.names if name in view]
        if not given and not (self.required and may_be_new):
            return
        if 0 < len(given) < len(self.names):
            together = ", ".join(self.names)
            raise Refused("needs_current", f"are one value: give {together} together, or send Mapping.patch")
        whole = self._whole(view)
        if whole is None and self.required:
            raise Refused("required", "must be given")
        self.store(record, whole)

    def canonise(self, view: Data, canonical: Data) -> None:
        canonical.update(zip(self.names, self._pieces(self._whole(view)), strict=True))

    def _pieces(self, whole: Any) -> Pieces:
        found = None if whole is None or whole is MISSING else self.codec.join((whole,))
        return (None,) * len(self.names) if found is None else self.codec.split(found)

    def _whole(self, view: Data) -> Any:
        return self.codec.join(tuple(view.get(name) for name in self.names))
