"""Quotas, as providers count them, and the permits to make a call under them."""

from __future__ import annotations

from datetime import UTC, tzinfo
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from attrs import Attribute, field, frozen
from attrs.validators import ge, gt, le, lt, min_len

from ratesync.model.feedback import NO_FEEDBACK, Feedback

CALLS = "calls"
"""Unit of a quota that counts calls, each as one, whatever it carries."""

OPERATIONS = "operations"
"""Unit of a quota that counts the operations in a call."""


class QuotaScope(StrEnum):
    """What a quota is counted over."""

    PROVIDER = "provider"
    """All connections at the provider together (an application-wide limit)."""
    CONNECTION = "connection"
    """Each connection by itself (an account's limit)."""
    ENDPOINT = "endpoint"
    """Each connection and resource by itself."""


class Period(StrEnum):
    """How long a :class:`Budget` lasts."""

    DAY = "day"
    MONTH = "month"


def _zone(_: object, attribute: Attribute[str], value: str) -> None:
    try:
        zone_of(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{attribute.name}: {value!r} is no time zone known here, such as 'Europe/Berlin'") from None


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; "UTC" is known on machines without time zone data too."""
    return UTC if name == "UTC" else ZoneInfo(name)


def kept_of(permits: int, reserve: float) -> int:
    """How many of the permits a share of ``reserve`` is: never all."""
    return max(0, min(int(permits * reserve), permits - 1))


@frozen(kw_only=True, cache_hash=True)
class Countable:
    """What quotas have in common that count permits."""

    permits: int = field(validator=ge(1), kw_only=False)
    """Most permits."""
    scope: QuotaScope = field(default=QuotaScope.CONNECTION, converter=QuotaScope)
    """What it is counted over. Default: each connection by itself."""
    resource: str | None = None
    """Applies to calls on this resource only. None: to all calls."""
    unit: str = field(default=CALLS, validator=min_len(1))
    """What one permit stands for: "calls" (default), "operations", or a unit of the provider's own, such as "points".
    The adapter must then say what a call costs (:class:`ratesync.protocols.Charges`)."""
    reserve: float = field(default=0.0, validator=[ge(0.0), lt(1.0)])
    """Share of the permits that is kept for operations of a priority above 0. Default: none."""

    @property
    def kept(self) -> int:
        """Permits that only operations of a priority above 0 may have; never all."""
        return kept_of(self.permits, self.reserve)


@frozen(kw_only=True, cache_hash=True)
class Rate(Countable):
    """At most ``permits`` in any window of ``per`` seconds, as a strict provider counts them (a sliding window).

    It is safe for providers with fixed windows too, wherever those begin.
    """

    per: float = field(validator=gt(0))
    """Length of the sliding window in seconds."""


@frozen(kw_only=True, cache_hash=True)
class FixedWindow(Countable):
    """At most ``permits`` in each window of ``per`` seconds. All are free again when the next window begins.

    Windows begin at midnight in ``zone`` and every ``per`` seconds after, unless the provider's answers tell otherwise.
    Where the provider's windows begin at a moment that nobody tells, use :class:`Rate`.
    """

    per: float = field(validator=[gt(0), le(86_400)])
    """Length of a window in seconds, at most a day."""
    zone: str = field(default="UTC", validator=_zone)
    """Time zone, by its IANA name. Default UTC."""


@frozen(kw_only=True, cache_hash=True)
class Budget(Countable):
    """At most ``permits`` in each day or month of the calendar."""

    every: Period = field(default=Period.DAY, converter=Period)
    """Day or month. Default day."""
    zone: str = field(default="UTC", validator=_zone)
    """Time zone in which days and months begin, by its IANA name. Default UTC."""
    resets_at: float = field(default=0.0, validator=[ge(0), lt(86_400)])
    """Seconds after midnight at which the day or month begins. Default 0."""


@frozen(kw_only=True, cache_hash=True)
class LeakyBucket(Countable):
    """A bucket of ``permits`` that refills by ``restore`` permits each second, as Shopify's."""

    restore: float = field(validator=gt(0))
    """Permits that come back each second."""


@frozen(kw_only=True, cache_hash=True)
class Concurrency(Countable):
    """At most ``permits`` at the same time. Those of a worker that died come back when its silence is noticed."""


@frozen(kw_only=True, cache_hash=True)
class Penalty:
    """After a refusal the provider refuses everything for ``seconds``, so nothing is sent for as long."""

    seconds: float = field(validator=gt(0), kw_only=False)
    scope: QuotaScope = field(default=QuotaScope.CONNECTION, converter=QuotaScope)
    """Who is refused with it. Default: all of the connection."""
    resource: str | None = None
    """Of one resource only; None (default): of all."""


@frozen(kw_only=True, cache_hash=True)
class Adaptive:
    """A limit that nobody has told: it is measured when the provider refuses, kept just under, and probed upward.

    Nothing is held back before the first refusal. Declared quotas beside it are kept whatever it finds. A connection
    gets one by itself if no rate, fixed window, leaky bucket or budget is declared that holds for all its resources.
    """

    per: float = field(default=1.0, validator=gt(0))
    """Length in seconds of the window over which the provider is thought to count. Default 1 s."""
    scope: QuotaScope = field(default=QuotaScope.CONNECTION, converter=QuotaScope)
    """Who shares it. Default: all of the connection."""
    resource: str | None = None
    """Of one resource only; None (default): of all."""
    unit: str = field(default=CALLS, validator=min_len(1))
    """What it counts. Default calls."""


Quota = Rate | FixedWindow | Budget | LeakyBucket | Concurrency | Penalty | Adaptive


class Scope(NamedTuple):
    """Where a quota is counted: an empty part means "all of them together"."""

    provider: str
    connection: str = ""
    resource: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Demand(NamedTuple):
    """A wish for ``cost`` permits under one quota at one scope. A call has one demand for each quota that applies."""

    scope: Scope
    quota: Quota
    cost: int = 1


class Permit(NamedTuple):
    """The right to make one call now, under all quotas that apply. Give it back with ``done`` or ``refund``."""

    id: int
    demands: tuple[Demand, ...]
    granted_at: float


@frozen
class Refusal:
    """No permit now, and nothing was taken."""

    demand: Demand
    """The demand that stands in the way."""
    retry_after: float | None
    """Exact wait in seconds if nobody else takes permits meanwhile; None: when another call gives its permit back."""
    is_reserved: bool = False
    """A priority above 0 may be served sooner, as permits are kept for those."""
    is_elsewhere: bool = False
    """No call that ends here will tell of permits: other processes hold them, and return those that they do not use to
    one who waits for them."""


@frozen
class Observation:
    """What was learnt from the call that a permit was used for."""

    throttled: bool = False
    """The provider refused the call because of a quota."""
    retry_after: float | None = None
    """Seconds for which the provider asked to be left alone."""
    feedback: Feedback = NO_FEEDBACK
    """What the answer told of the provider's quotas."""

    @property
    def hold_for(self) -> float:
        """Seconds for which the connection is to be left alone; 0.0 for not at all."""
        asked_for = self.retry_after or 0.0 if self.throttled else 0.0
        return max(asked_for, self.feedback.hold_for or 0.0)


@frozen
class QuotaState:
    """How a quota stands at this moment."""

    demand: Demand
    used: int
    """Permits in use: of calls under way, and of ended calls that the provider still counts."""
    limit: int | None
    """Most permits now: what was declared, or less where the provider told or was found to allow less. None: no limit
    is known."""
    next_free_at: float | None
    """Instant at which the next permit can be had; None when it depends on a call under way."""
    held_until: float | None = None
    """Instant until which the provider asked to be left alone; None if it did not."""
    waiting: int = 0
    """Callers of this process that wait for it."""
