"""What looking a create up may come to at any provider."""

from __future__ import annotations

from ratesync.model.outcome import Conflict
from ratesync.model.record import Record


def another_found(record_id: str, mark: str) -> Conflict:
    """The outcome where a record has what the create is known by, but other values than it wrote.

    It may be an older one, for which the provider has refused the create; or its own, changed since. Asking again would
    not tell.

    :param mark: what it is known by, in words.
    """
    problem = f"there is a record with its {mark}, but with other values than it wrote"
    return Conflict(f"{problem}: a person must look whether it is the one that was made", Record(record_id, {}))
