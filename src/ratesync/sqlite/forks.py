"""Files that were open when this process was forked off: SQLite would take its parent's locks on them for its own."""

from __future__ import annotations

import os

from ratesync.sqlite.errors import FileForked

_open = list[str]()
"""Each file as often as it is open in this process. A list, as threads add to it and take from it without a lock."""
_inherited = set[str]()


def note_opened(path: str) -> None:
    """The file is being opened.

    :raises FileForked: it was open when this process began.
    """
    real = os.path.realpath(path)
    if real in _inherited:
        raise FileForked(
            f"{path}: was open in the process that forked this one off, so that SQLite would not lock it here and "
            "could lose writes. Fork before you open it, or start processes anew (multiprocessing: `spawn`)."
        )
    _open.append(real)


def note_closed(path: str) -> None:
    """The file was closed, or could not be opened."""
    _open.remove(os.path.realpath(path))


def _inherit() -> None:
    _inherited.update(_open)
    _open.clear()


if hasattr(os, "register_at_fork"):  # where there are forks
    os.register_at_fork(after_in_child=_inherit)
