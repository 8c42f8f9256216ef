"""When a side changed a field that is in conflict, as far as that can be believed."""

from __future__ import annotations

from collections.abc import Sequence

from ratesync.model.change_time import ChangeTime
from ratesync.model.held import Held
from ratesync.model.link import LinkEnd


def change_time(end: LinkEnd, held: Held, places: Sequence[str]) -> ChangeTime | None:
    """When the field was changed that stands at ``places`` of the record; None if nothing is told.

    Our own writes change records, too, and a record's time does not say whose change it was. So it counts only if the
    record has another version than the one that we know, or was never synced. A field that is in conflict was changed
    since our last write of it: its own time always counts. One that is made of several places has the latest of their
    times, if all are told.
    """
    times = [held.record.field_times.get(place) for place in places]
    known = [at for at in times if at is not None]
    field_at = max(known) if known and len(known) == len(times) else None
    is_news = end.base is None or (end.version is not None and held.version not in {None, end.version})
    record_at = held.record.changed_at if is_news else None
    return None if record_at is None and field_at is None else ChangeTime(record_at, field_at)
