"""How a whole is taken apart and put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from ratesync.mapping.field_error import Refused

Pieces = tuple[Any, ...]


@frozen
class Splitter:
    """Two pure functions between a whole and its pieces. What it loses is lost in both directions alike.

    Lawful if ``join(split(join(pieces))) == join(pieces)`` for all pieces.
    """

    split: Callable[[Any], Pieces]
    """The pieces of a whole in canonical form; None for a piece that is empty."""
    join: Callable[[Pieces], Any]
    """The whole of the pieces, in canonical form; None if there is nothing in them. A piece may be None, and the whole
    may come as the only piece."""


def full_name() -> Splitter:
    """First and last name: the last word is the last name, everything before it the first. Blanks are tidied."""
    return Splitter(_split_name, _join_name)


def _split_name(whole: Any) -> Pieces:
    first, _, last = whole.rpartition(" ")
    return first or None, last or None


def _join_name(pieces: Pieces) -> Any:
    return " ".join(word for piece in _texts(pieces) for word in piece.split()) or None


def separated(separator: str, count: int) -> Splitter:
    """Pieces with a separator between them, such as ``"Zurich / ZH"``. The last piece takes what is left over.

    :param separator: without the blanks around it; they are tidied to one on each side.
    :param count: of pieces.
    """

    def split(whole: Any) -> Pieces:
        pieces: list[str | None] = [piece.strip() or None for piece in whole.split(separator, count - 1)]
        return (*pieces, *[None] * (count - len(pieces)))

    def join(pieces: Pieces) -> Any:
        words = [word.strip() for piece in _texts(pieces) for word in piece.split(separator)]
        while words and not words[-1]:
            words.pop()
        return f" {separator} ".join(words).strip() or None

    return Splitter(split, join)


def _texts(pieces: Pieces) -> list[str]:
    for piece in pieces:
        if piece is not None and not isinstance(piece, str):
            raise Refused("type", "must be text", piece)
    return [piece or "" for piece in pieces]
