"""A provider as a row: how far the fair choice among its lanes has come."""

from __future__ import annotations

from math import inf

COLUMNS = ("current", "latest", "ahead", "held_least")
SELECT = f"SELECT {', '.join(COLUMNS)} FROM provider WHERE name = ?"  # noqa: S608 - constants
UPDATE = f"UPDATE provider SET {', '.join(f'{name} = ?' for name in COLUMNS)} WHERE name = ?"  # noqa: S608 - constants

Row = tuple[float, float, float, int | None]


class ProviderRow:
    """What is known of a provider. Changed in place; the book writes it when it has changed."""

    def __init__(self, name: str, row: Row) -> None:
        self.name = name
        self.current, self.latest, self.ahead, least = row
        self.held_least = inf if least is None else least
        """The lowest bound on leased mailboxes of a lane so far: who waits was held up by no lower one."""
        self._stored = row

    def changes(self) -> Row | None:
        """The row if it differs from what is stored; from then on it counts as stored."""
        least = None if self.held_least == inf else int(self.held_least)
        row = self.current, self.latest, self.ahead, least
        if row == self._stored:
            return None
        self._stored = row
        return row
