"""Which declared quota is it that a provider tells of?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ratesync.model.feedback import Reading, ThrottleCause
from ratesync.model.quota import Budget, Concurrency, FixedWindow, LeakyBucket, Penalty, Period, Quota, Rate

SAME = 0.01
"""Lengths of windows that differ by this share are the same."""

_READABLE = (Rate, FixedWindow, LeakyBucket, Budget)
_KINDS: dict[ThrottleCause, tuple[type[Quota], ...]] = {
    ThrottleCause.RATE: (Rate, FixedWindow, LeakyBucket),
    ThrottleCause.CONCURRENCY: (Concurrency,),
    ThrottleCause.BUDGET: (Budget,),
    ThrottleCause.OVERLOAD: (),
}
_DAY = 86_400.0


def match_reading(reading: Reading, quotas: Sequence[Quota]) -> int | None:
    """The place of the quota that the reading tells of; None if that is not clear.

    It is the one of the same window; without a window, the one of the same limit; without either, the only one there
    is that a provider could tell of.
    """
    places = [place for place, quota in enumerate(quotas) if isinstance(quota, _READABLE)]
    if reading.per is not None:
        return _only(place for place in places if _is_window(quotas[place], reading.per))
    if reading.limit is not None:
        of_limit = [place for place in places if getattr(quotas[place], "permits", None) == reading.limit]
        if of_limit:
            return _only(of_limit)
    return _only(places)


def match_cause(cause: ThrottleCause | None, quotas: Sequence[Quota]) -> int | None:
    """The place of the quota for which the provider surely refused a call; None if that is not clear."""
    kinds = _READABLE if cause is None else _KINDS[cause]
    return _only(place for place, quota in enumerate(quotas) if isinstance(quota, kinds))


def may_be_meant(cause: ThrottleCause | None, quota: Quota) -> bool:
    """Whether a refusal may say something about the quota: a penalty follows each, the others follow their own."""
    return (
        cause is None or isinstance(quota, Penalty) or (cause is ThrottleCause.RATE and not isinstance(quota, Budget))
    )


def _is_window(quota: Quota, per: float) -> bool:
    length = _length(quota)
    return length is not None and abs(length - per) <= SAME * per


def _length(quota: Quota) -> float | None:
    """Seconds of the quota's window; None where it has none, or of varying length."""
    if isinstance(quota, Budget):
        return _DAY if quota.every is Period.DAY else None
    return quota.per if isinstance(quota, Rate | FixedWindow) else None


def _only(places: Iterable[int]) -> int | None:
    """The only one of the places; None if there are more, or none."""
    found = list(places)
    return found[0] if len(found) == 1 else None
