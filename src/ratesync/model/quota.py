"""Quotas, and the permits to make a call under them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from attrs import field, frozen
from attrs.validators import ge, gt


class QuotaScope(StrEnum):
    """What a quota is counted over."""

    PROVIDER = "provider"
    """All connections at the provider together (an application-wide limit)."""
    CONNECTION = "connection"
    """Each connection by itself (an account's limit)."""
    ENDPOINT = "endpoint"
    """Each connection and resource by itself."""


@frozen
class Rate:
    """At most ``permits`` calls in any window of ``per`` seconds, as a strict provider counts them."""

    permits: int = field(validator=ge(1))
    per: float = field(kw_only=True, validator=gt(0))
    """Length of the sliding window in seconds."""
    scope: QuotaScope = field(default=QuotaScope.CONNECTION, kw_only=True, converter=QuotaScope)
    resource: str | None = field(default=None, kw_only=True)
    """Applies to calls on this resource only. None: to all calls."""


@frozen
class Concurrency:
    """At most ``permits`` calls at the same time."""

    permits: int = field(validator=ge(1))
    scope: QuotaScope = field(default=QuotaScope.CONNECTION, kw_only=True, converter=QuotaScope)
    resource: str | None = field(default=None, kw_only=True)
    """Applies to calls on this resource only. None: to all calls."""


Quota = Rate | Concurrency


class Scope(NamedTuple):
    """Where a quota is counted: an empty part means "all of them together"."""

    provider: str
    connection: str = ""
    resource: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


@frozen
class Demand:
    """A wish for ``cost`` permits under one quota at one scope. A call has one demand for each quota that applies."""

    scope: Scope
    quota: Quota
    cost: int = 1


@frozen
class Permit:
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


@frozen
class Observation:
    """What was learnt from the call that a permit was used for."""

    throttled: bool = False
    """The provider refused the call because of a quota."""
    retry_after: float | None = None
    """Seconds for which the provider asked to be left alone."""


@frozen
class QuotaUse:
    """How much of a quota is used at this moment."""

    demand: Demand
    used: int
    """Permits used in the current window, or calls under way."""
    next_free_at: float | None
    """Instant at which the next permit can be had; None when it depends on a call under way."""
