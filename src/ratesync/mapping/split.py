"""One value on one side that is several on the other, such as a full name and its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from attrs import field, frozen

from ratesync.errors import ConfigurationError
from ratesync.mapping.field_error import Refused
from ratesync.mapping.missing import MISSING
from ratesync.mapping.part import Data, Part
from ratesync.mapping.path import fetcher, parse_path, remover, storer
from ratesync.rules.merge_patch import is_same

Pieces = tuple[Any, ...]


@frozen
class Splitter:
    """Two pure functions between a whole and its pieces. What it loses is lost in both directions alike.

    Lawful if ``join(split(join(pieces))) == join(pieces)`` for all pieces.
    """

    split: Callable[[Any], Pieces]
    """The pieces of a whole; None for a piece that is empty."""
    join: Callable[[Pieces], Any]
    """The whole of the pieces, in canonical form; None if there is nothing in them. A piece may be None."""


def full_name() -> Splitter:
    """First and last name: the last word is the last name, everything before it the first. Blanks are tidied."""
    return Splitter(_split_name, _join_name)


def _split_name(whole: Any) -> Pieces:
    first, _, last = _join_name((whole,)).rpartition(" ")
    return first or None, last or None


def _join_name(pieces: Pieces) -> Any:
    for piece in pieces:
        if piece is not None and not isinstance(piece, str):
            raise Refused("type", "must be text", piece)
    return " ".join(word for piece in pieces if piece for word in piece.split()) or None


@frozen
class Split:
    """One value of the view, several of the provider's. They keep their own spelling until the value changes."""

    name: str
    paths: Sequence[str]
    codec: Splitter = field(factory=full_name)
    required: bool = field(default=False, kw_only=True)

    def compile(self) -> Part:
        """Make the functions of this line."""
        paths = tuple(parse_path(path) for path in self.paths)
        name, required = self.name, self.required
        fetches = [fetcher(path) for path in paths]
        stores = [storer(path) for path in paths]
        removes = [remover(path) for path in paths]
        join, canon, split = self.codec.join, _canon_of(self.codec), self.codec.split

        def held(record: Data) -> Any:
            pieces = [fetch(record) for fetch in fetches]
            if all(piece is MISSING for piece in pieces):
                return MISSING
            return join(tuple(None if piece is MISSING else piece for piece in pieces))

        def read(record: Data, view: Data) -> None:
            value = held(record)
            if value is not MISSING:
                view[name] = value

        def send(record: Data, value: Any) -> None:
            if value is None and required:
                raise Refused("required", "must not be None")
            pieces = (None,) * len(stores) if value is None else split(value)
            for store, piece in zip(stores, pieces, strict=True):
                store(record, piece)

        def write(record: Data, view: Data, creating: bool) -> None:  # noqa: FBT001
            if name not in view:
                if required and (creating or held(record) is not MISSING):
                    raise Refused("required", "must be given")
                for remove in removes:
                    remove(record)
                return
            value = canon(view[name])
            if creating or not _is_held(held, record, value):
                send(record, value)

        def touch(record: Data, view: Data, may_be_new: bool) -> None:  # noqa: FBT001
            if name in view:
                send(record, canon(view[name]))
            elif required and may_be_new:
                raise Refused("required", "must be given, as the record may be new")

        def canonise(view: Data, canonical: Data) -> None:
            if name in view:
                canonical[name] = canon(view[name])

        return Part(", ".join(self.paths), (name,), paths, read, write, touch, canonise)


def _is_held(held: Callable[[Data], Any], record: Data, value: Any) -> bool:
    try:
        return is_same(held(record), value)
    except Exception:  # noqa: BLE001  what cannot be read is replaced
        return False


def _canon_of(codec: Splitter) -> Callable[[Any], Any]:
    def canon(whole: Any) -> Any:
        if whole is None:
            return None
        found = codec.join((whole,))
        return None if found is None else codec.join(codec.split(found))

    return canon


@frozen
class Join:
    """Several values of the view, one of the provider's.

    Which word belongs to which value is decided by ``codec``, so that the view comes back as the codec splits it.
    """

    names: Sequence[str]
    path: str
    codec: Splitter = field(factory=full_name)
    required: bool = field(default=False, kw_only=True)

    def compile(self) -> Part:
        """Make the functions of this line."""
        if len(self.names) < 2:  # noqa: PLR2004  else it is a Field
            raise ConfigurationError("Join takes at least two names: for one use Field")
        path, names = parse_path(self.path), tuple(self.names)
        fetch, store, required = fetcher(path), storer(path), self.required
        join, split = self.codec.join, self.codec.split

        def pieces_of(whole: Any) -> Pieces:
            found = None if whole is None or whole is MISSING else join((whole,))
            return (None,) * len(names) if found is None else split(found)

        def whole_of(view: Data) -> Any:
            return join(tuple(view.get(name) for name in names))

        def read(record: Data, view: Data) -> None:
            view.update(zip(names, pieces_of(fetch(record)), strict=True))

        def write(record: Data, view: Data, creating: bool) -> None:  # noqa: FBT001
            whole, old = whole_of(view), fetch(record)
            if whole is None and required and (creating or old is not MISSING):
                raise Refused("required", "must be given")
            if not _is_held(lambda _: pieces_of(old), record, pieces_of(whole)):
                store(record, whole)

        def touch(record: Data, view: Data, may_be_new: bool) -> None:  # noqa: FBT001
            given = [name for name in names if name in view]
            if not given and not (required and may_be_new):
                return
            if 0 < len(given) < len(names):
                raise Refused("needs_current", f"is one with {', '.join(names)}: give all of them, or send Mapping.patch")
            whole = whole_of(view)
            if whole is None and required:
                raise Refused("required", "must be given")
            store(record, whole)

        def canonise(view: Data, canonical: Data) -> None:
            canonical.update(zip(names, pieces_of(whole_of(view)), strict=True))

        return Part(self.path, names, (path,), read, write, touch, canonise)


def separated(separator: str, count: int) -> Splitter:
    """Pieces with a separator between them, such as ``"Zurich / ZH"``. The last piece takes what is left over.

    :param separator: without the blanks around it; they are tidied to one on each side.
    :param count: of pieces.
    """

    def split(whole: Any) -> Pieces:
        pieces: list[str | None] = [piece.strip() or None for piece in cast("str", whole).split(separator, count - 1)]
        return (*pieces, *[None] * (count - len(pieces)))

    def join(pieces: Pieces) -> Any:
        for piece in pieces:
            if piece is not None and not isinstance(piece, str):
                raise Refused("type", "must be text", piece)
        words = [word.strip() for piece in pieces for word in (piece or "").split(separator)]
        while words and not words[-1]:
            words.pop()
        return f" {separator} ".join(words).strip() or None

    return Splitter(split, join)
