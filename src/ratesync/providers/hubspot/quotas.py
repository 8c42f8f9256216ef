"""What HubSpot allows, by subscription.

https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines (read in 2026), and
https://developers.hubspot.com/changelog/increasing-our-api-limits: each app has a burst in each account, over a rolling
window of 10 seconds; all privately distributed apps of an account share the account's calls of a day; searches are five
a second for each account, and are not told of in the answers' headers.
"""

from __future__ import annotations

from enum import StrEnum

from ratesync.model.quota import Budget, Quota, Rate

SEARCHES = "searches"
"""Unit of the quota of searches. A page of changes and a ``find`` cost one; operations cost none."""
SEARCHES_PER_SECOND = 5
BURST_WINDOW = 10.0
"""Seconds."""
PACK_BURST = 250
PACK_DAY = 1_000_000
PUBLIC_BURST = 110
"""Calls in ten seconds of an app that many accounts install by OAuth; nobody counts its day."""


class Subscription(StrEnum):
    """What the account has subscribed to: the highest of its hubs."""

    FREE = "free"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


_BURSTS = {
    Subscription.FREE: 100,
    Subscription.STARTER: 100,
    Subscription.PROFESSIONAL: 190,
    Subscription.ENTERPRISE: 190,
}
_DAYS = {
    Subscription.FREE: 250_000,
    Subscription.STARTER: 250_000,
    Subscription.PROFESSIONAL: 650_000,
    Subscription.ENTERPRISE: 1_000_000,
}


def default_quotas(
    subscription: Subscription | str = Subscription.FREE,
    *,
    packs: int = 0,
    is_public: bool = False,
    zone: str = "UTC",
) -> tuple[Quota, ...]:
    """The quotas of a connection to an account with that subscription.

    :param packs: how often the account has bought the pack that increases API limits. The burst grows once.
    :param is_public: the app is distributed publicly, by OAuth: 110 calls in ten seconds whatever the subscription.
    :param zone: the account's time zone, in which its day begins at midnight.
    :raises ValueError: there is no such subscription, or ``packs`` is negative.
    """
    subscription = Subscription(subscription)
    if packs < 0:
        raise ValueError("packs must not be negative")
    searches = Rate(SEARCHES_PER_SECOND, per=1.0, unit=SEARCHES)
    if is_public:
        return (Rate(PUBLIC_BURST, per=BURST_WINDOW), searches)
    burst = PACK_BURST if packs else _BURSTS[subscription]
    day = _DAYS[subscription] + packs * PACK_DAY
    return (Rate(burst, per=BURST_WINDOW), Budget(day, zone=zone), searches)
