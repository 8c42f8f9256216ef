"""The error that a refused reading call is."""

from __future__ import annotations

from ratesync.errors import InvalidResponse, ProviderError, Unavailable
from ratesync.model.outcome import Applied, Outcome, RetryLater, Unknown
from ratesync.rules.provider_errors import error_for_outcome

PAUSE = 5.0
"""Seconds to wait after a failure of a provider that does not say for how long."""
_SERVER_ERROR = 5


def refused_reading(outcome: Outcome, status: int) -> ProviderError:
    """The error that an answer to a reading call stands for, which is no success.

    A failure of the provider's own is ``Unavailable``, as a call that changes nothing may be made again.

    :param outcome: what the answer would mean for an operation.
    """
    match outcome:
        case RetryLater():
            return error_for_outcome(outcome)
        case Unknown(reason) if status // 100 == _SERVER_ERROR:
            return Unavailable(reason, retry_after=PAUSE)
        case Applied():
            return InvalidResponse(f"HTTP {status}")
        case _:
            return InvalidResponse(outcome.reason)
