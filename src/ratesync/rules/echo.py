"""Our own writes coming back: as a webhook, or in a feed of changes."""

from __future__ import annotations

from ratesync.model.change import Change
from ratesync.model.record import Record
from ratesync.rules.sameness import is_same


def is_echo(change: Change, held: Record | None) -> bool:
    """Tell whether a change says no more than what we know: it is then no reason to do anything.

    ``held`` is the record as the provider had it after our last read or write of it, by its own answer; None if it was
    gone. Versions decide if both are known and equal, else the content does. So an event may come twice, late, out of
    order or never; nothing is waited for, and no event is skipped for having been expected. A change that names neither
    a version nor fields is a hint, and never an echo: the record must be read.

    An old event that arrives late is no echo either. Reading the record then shows that nothing is to be done.
    """
    if change.is_deleted or held is None:
        return change.is_deleted and held is None
    if change.version is not None and change.version == held.version:
        return True
    return change.fields is not None and is_same(dict(change.fields), dict(held.fields))
