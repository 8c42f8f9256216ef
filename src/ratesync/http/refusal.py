"""Answers to calls that are no operation (listings, token requests) as errors."""

from __future__ import annotations

from collections.abc import Iterable

from ratesync.errors import InvalidResponse, ProviderError
from ratesync.http.feedback import ThrottleReader
from ratesync.http.outcome import read_outcome
from ratesync.http.reason import reason_of
from ratesync.http.response import Response
from ratesync.model.operation import Kind
from ratesync.model.outcome import RetryLater
from ratesync.model.secret import Secret
from ratesync.rules.provider_errors import error_for_outcome


def refusal_in(
    response: Response, *, now: float, secrets: Iterable[str | Secret] = (), throttle: ThrottleReader | None = None
) -> ProviderError | None:
    """The error that an answer to a read stands for; None for a success.

    Throttled (429 and its like), Unavailable (503, 425), Unauthorised (401, 403); InvalidResponse for any other status
    but 2xx. ``now``, ``secrets`` and ``throttle`` are as for :func:`~ratesync.http.read_outcome`.
    """
    secrets = tuple(secrets)
    outcome = read_outcome(response, Kind.READ, now=now, secrets=secrets, throttle=throttle)
    if isinstance(outcome, RetryLater):
        return error_for_outcome(outcome)
    return None if response.is_success else InvalidResponse(reason_of(response, secrets))
