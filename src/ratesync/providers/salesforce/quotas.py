"""What Salesforce allows, by edition.

https://developer.salesforce.com/docs/atlas.en-us.salesforce_app_limits_cheatsheet.meta/salesforce_app_limits_cheatsheet/salesforce_app_limits_platform_api.htm
(read in 2026): calls in any 24 hours, of all apps of the org together, and calls at once that take 20 seconds or
longer, 25 of them, in Developer Edition and trial orgs 5.
"""

from __future__ import annotations

from enum import StrEnum

from ratesync.model.quota import Concurrency, Quota, Rate

DAY = 86_400.0
"""Seconds. Salesforce counts any 24 hours, not those of the calendar."""
LONG_CALLS = 25
DEVELOPER_LONG_CALLS = 5


class Edition(StrEnum):
    """What the org is."""

    DEVELOPER = "developer"
    PROFESSIONAL = "professional"
    """With API access."""
    ENTERPRISE = "enterprise"
    UNLIMITED = "unlimited"
    PERFORMANCE = "performance"
    SANDBOX = "sandbox"


_CALLS = {
    Edition.DEVELOPER: 15_000,
    Edition.PROFESSIONAL: 100_000,
    Edition.ENTERPRISE: 100_000,
    Edition.UNLIMITED: 100_000,
    Edition.PERFORMANCE: 100_000,
    Edition.SANDBOX: 5_000_000,
}
_CALLS_OF_LICENCE = {
    Edition.PROFESSIONAL: 1_000,
    Edition.ENTERPRISE: 1_000,
    Edition.UNLIMITED: 5_000,
    Edition.PERFORMANCE: 5_000,
}


def default_quotas(
    edition: Edition | str = Edition.ENTERPRISE, *, licences: int = 0, bought: int = 0
) -> tuple[Quota, ...]:
    """The quotas of a connection to an org of that edition.

    Salesforce counts only calls of 20 seconds and longer against those at once. Which ones that will be nobody knows,
    so all are counted here.

    :param licences: full Salesforce licences; other kinds bring fewer calls.
    :param bought: further calls a day that the org has bought.
    :raises ValueError: there is no such edition, or a number is negative.
    """
    edition = Edition(edition)
    if licences < 0 or bought < 0:
        raise ValueError("licences and bought must not be negative")
    calls = _CALLS[edition] + licences * _CALLS_OF_LICENCE.get(edition, 0) + bought
    long_calls = DEVELOPER_LONG_CALLS if edition is Edition.DEVELOPER else LONG_CALLS
    return (Rate(calls, per=DAY), Concurrency(long_calls))
