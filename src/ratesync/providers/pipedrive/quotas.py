"""What Pipedrive allows, by plan.

https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting (as of September 2026): each company has 30,000 tokens
a day, times a factor of its plan, times its seats, and what it has bought besides; all apps and users share them. And
each token (of a user or an app) has a burst, over a sliding window of 2 seconds, and another one of searches
(https://developers.pipedrive.com/changelog/post/announcing-search-api-rate-limit).
"""

from __future__ import annotations

from enum import StrEnum

from ratesync.model.quota import Budget, Quota, Rate
from ratesync.providers.pipedrive.throttle import BURST_WINDOW

TOKENS = "tokens"
"""Unit of the day's budget: requests cost 1 to 80 of them."""
SEARCHES = "searches"
"""Unit of the burst of searches: a ``find`` costs one for each value."""
SEARCH_BURST = 10
BASE = 30_000
"""Tokens a day of one seat on the smallest plan."""


class Plan(StrEnum):
    """What the company has subscribed to."""

    LITE = "lite"
    GROWTH = "growth"
    PREMIUM = "premium"
    ULTIMATE = "ultimate"


_FACTORS = {Plan.LITE: 1, Plan.GROWTH: 2, Plan.PREMIUM: 5, Plan.ULTIMATE: 7}
_BURSTS = {Plan.LITE: 20, Plan.GROWTH: 40, Plan.PREMIUM: 100, Plan.ULTIMATE: 120}
_APP = 4
"""An app by OAuth has four times the burst of a user's API token."""


def default_quotas(
    plan: Plan | str = Plan.LITE,
    *,
    seats: int = 1,
    top_up: int = 0,
    is_app: bool = False,
    zone: str = "UTC",
) -> tuple[Quota, ...]:
    """The quotas of a connection to a company with that plan.

    :param seats: of the company. :param top_up: tokens a day that it has bought besides.
    :param is_app: the connection's tokens are an app's, by OAuth; False: a user's API token.
    :param zone: where the day begins at midnight: that of Pipedrive's servers, which nobody tells. Answers tell what is
        left, so that a wrong guess costs some refusals around midnight.
    :raises ValueError: there is no such plan, or no seat, or ``top_up`` is negative.
    """
    plan = Plan(plan)
    if seats < 1 or top_up < 0:
        raise ValueError("seats must be at least 1, and top_up not below 0: as the company's subscription says")
    tokens = BASE * _FACTORS[plan] * seats + top_up
    burst = _BURSTS[plan] * (_APP if is_app else 1)
    searches = Rate(SEARCH_BURST, per=BURST_WINDOW, unit=SEARCHES)
    return (Budget(tokens, unit=TOKENS, zone=zone), Rate(burst, per=BURST_WINDOW), searches)
