"""A limit that nobody has told: measured at a refusal, kept just under, probed upward."""

from __future__ import annotations

from attrs import define

from ratesync.rules.penalty import PenaltyBox


@define(eq=False)
class AdaptiveWindow(PenaltyBox):
    """Stands in until the law is there."""

    seconds: float = 1.0
