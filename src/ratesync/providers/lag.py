"""How much later a provider shows what was changed."""

from __future__ import annotations

from ratesync.errors import ConfigurationError

LONGEST = 366 * 86_400.0


def checked_lag(lag: float) -> float:
    """The lag in seconds.

    :raises ConfigurationError: it is none: below 0, longer than a year, or not a number.
    """
    if not 0 <= lag <= LONGEST:
        raise ConfigurationError("lag must be a number of seconds from 0 up to a year: leave it out for the default")
    return lag
