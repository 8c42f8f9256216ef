"""Answers to calls that are no operation (listings, token requests) as errors."""

from __future__ import annotations

from collections.abc import Iterable

from ratesync.errors import InvalidResponse, ProviderError, Throttled, Unauthorised, Unavailable
from ratesync.http.feedback import ThrottleReader
from ratesync.http.outcome import read_outcome
from ratesync.http.reason import reason_of
from ratesync.http.response import Response
from ratesync.model.operation import Kind
from ratesync.model.outcome import Cause, RetryLater


def refusal_in(
    response: Response, *, now: float, secrets: Iterable[str] = (), throttle: ThrottleReader | None = None
) -> ProviderError | None:
    """The error that an answer to a read stands for; None for a success.

    Throttled (429 and its like), Unavailable (503, 425), Unauthorised (401, 403); InvalidResponse for any other status
    but 2xx. ``now``, ``secrets`` and ``throttle`` are as for :func:`~ratesync.http.read_outcome`.
    """
    secrets = tuple(secrets)
    outcome = read_outcome(response, Kind.READ, now=now, secrets=secrets, throttle=throttle)
    if isinstance(outcome, RetryLater):
        if outcome.cause is Cause.THROTTLED:
            return Throttled(outcome.reason, retry_after=outcome.retry_after)
        if outcome.cause is Cause.UNAUTHORISED:
            return Unauthorised(outcome.reason)
        return Unavailable(outcome.reason, retry_after=outcome.retry_after)
    return None if response.is_success else InvalidResponse(reason_of(response, secrets))
