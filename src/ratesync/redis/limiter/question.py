"""Questions of how quotas stand."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from attrs import define, field

from ratesync.model.quota import Demand, QuotaState
from ratesync.redis.limiter.lane import Lane


@define(eq=False)
class Question:
    """Somebody who asks in ``snapshot``."""

    demands: Sequence[Demand]
    lanes: Sequence[Lane]
    """One for each demand, of a single permit."""
    alarm: anyio.Event = field(factory=anyio.Event, init=False)
    states: list[QuotaState] = field(factory=list[QuotaState], init=False)
    error: Exception | None = field(default=None, init=False)
