"""What is ordered about lanes."""

from __future__ import annotations

from ratesync.model.lane import Lane, Selector
from ratesync.sqlite.book import Book
from ratesync.sqlite.names import NOBODY


def park(book: Book, lane: Lane, until: float) -> None:
    """Leave the lane alone until an instant."""
    row = book.find(lane) if until <= book.now else book.open(lane)
    if row is not None:
        row.parked_until = until
    book.is_news = True


def set_weight(book: Book, lane: Lane, weight: float) -> None:
    """Give the lane a weight."""
    row = book.find(lane) if weight == 1.0 else book.open(lane)
    if row is not None:
        row.weight = float(weight)


def pause(book: Book, selector: Selector) -> None:
    """Leave the selected lanes alone."""
    if NOBODY in selector:  # nor will there ever be such a lane
        return
    if selector not in book.pauses():
        book.db.execute("INSERT INTO pause (provider, connection) VALUES (?, ?)", tuple(selector))
        _apply(book, selector)


def resume(book: Book, selector: Selector) -> None:
    """Undo the pauses that the selector covers."""
    book.db.execute(
        "DELETE FROM pause WHERE (?1 IS NULL OR provider = ?1) AND (?2 IS NULL OR connection = ?2)", tuple(selector)
    )
    _apply(book, selector)
    book.is_news = True


def _apply(book: Book, selector: Selector) -> None:
    pauses = book.pauses()
    for row in book.selected(selector):
        row.is_paused = int(any(pause.matches(row.lane) for pause in pauses))
