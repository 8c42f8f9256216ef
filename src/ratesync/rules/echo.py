"""Our own writes coming back: as a webhook, or in a feed of changes."""

from __future__ import annotations

from ratesync.model.change import Change
from ratesync.model.difference import Side, View
from ratesync.model.link import LinkEnd, LinkStatus, RecordLink
from ratesync.rules.sameness import is_same


def is_echo(change: Change, view: View | None, side: Side, link: RecordLink) -> bool:
    """Tell whether a change says no more than what we know: it is then no reason to do anything.

    ``view`` is what the change says that the record holds; None if it does not say. Versions decide if both are known
    and equal, else the content does. So an event may come twice, late, out of order or never; nothing is waited for,
    and no event is skipped for having been expected. A change that names neither a version nor fields is a hint, and
    never an echo: the record must be read.

    Ask it of links only that nobody is working on: no mark, no intent. Somebody who has read a newer state and not yet
    saved it would else be told nothing of the record's coming back to the older one.

    An old event that arrives late is no echo either. Reading the record then shows that nothing is to be done. A record
    that is left alone by policy has no news; and where nothing could be done, or was to be done, what was seen then is
    none.
    """
    end = link.end(side)
    if link.status is LinkStatus.UNLINKED:
        return True
    if link.seen:
        seen = link.seen.get(side)
        if change.is_deleted or seen is None:
            return change.is_deleted and seen is None
        return _is_version_of(change, seen) or _is_content_of(view, seen)
    if change.is_deleted:
        return link.status is LinkStatus.TOMBSTONE
    if link.status is not LinkStatus.ACTIVE or end.base is None:
        return False
    # With an open conflict the base is older than what the side holds: going back to it is news.
    return _is_version_of(change, end) or (not link.deferred and _is_content_of(view, end))


def _is_version_of(change: Change, end: LinkEnd) -> bool:
    return change.version is not None and change.version == end.version and not end.unconfirmed


def _is_content_of(view: View | None, end: LinkEnd) -> bool:
    return view is not None and end.base is not None and is_same(dict(view), dict(end.base))
