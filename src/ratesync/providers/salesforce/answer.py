"""What a whole answer says: by its status, and by the errors in it."""

from __future__ import annotations

from http import HTTPStatus

from attrs import evolve

from ratesync.errors import InvalidResponse, ProviderError
from ratesync.http.feedback import server_time
from ratesync.http.outcome import NOT_FOUND, read_answer
from ratesync.http.payload import json_array
from ratesync.http.response import Response
from ratesync.http.throttle_readers import salesforce_throttle
from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied, Cause, Outcome, Rejected, RetryLater, Unknown
from ratesync.providers.refusal import refused_reading
from ratesync.providers.salesforce.problem import Problem
from ratesync.rules.masking import mask_outcome
from ratesync.rules.retry_after import parse_retry_after

SEVERAL = "MULTIPLE_CHOICES"
"""Code of the rejection of an operation whose external id several records have."""
_SERVER_ERROR = 5


def read_whole(response: Response, kind: Kind, now: float) -> Outcome:
    """What the answer says of all operations of its call. A success comes as plain ``Applied``."""
    return mask_outcome(_read_whole(response, kind, now), response.secrets)


def _read_whole(response: Response, kind: Kind, now: float) -> Outcome:
    outcome, _ = read_answer(response, kind, now=now, throttle=salesforce_throttle)
    if isinstance(outcome, Applied):
        return evolve(outcome, version=None) if response.is_success else Unknown(f"HTTP {response.status}")
    if response.status == HTTPStatus.MULTIPLE_CHOICES:
        return Rejected("several records have that value of the external id", SEVERAL)
    problem = read_problem(response)
    if problem.code:
        return _explained(response, outcome, problem, kind, now)
    # Without an error of Salesforce's own somebody in between has answered, who knows nothing of records.
    return Unknown(outcome.reason) if response.status in NOT_FOUND else outcome


def _explained(response: Response, outcome: Outcome, problem: Problem, kind: Kind, now: float) -> Outcome:
    """The outcome that the errors in the answer tell, which know more than its status."""
    if isinstance(outcome, RetryLater) and outcome.cause is Cause.THROTTLED:
        return outcome
    if response.status == HTTPStatus.UNAUTHORIZED:
        return RetryLater(problem.reason, Cause.UNAUTHORISED)
    if response.status // 100 == _SERVER_ERROR and not problem.is_locked:
        # The status says whether something may have been done; the words of the error may repeat values.
        reason = f"HTTP {response.status}: {problem.reason}"
        return evolve(outcome, reason=reason) if isinstance(outcome, RetryLater) else Unknown(reason)
    told = problem.outcome(kind)
    if isinstance(told, RetryLater) and told.cause is Cause.UNAVAILABLE:
        asked = parse_retry_after(response.headers.get("retry-after"), server_time(response, now))
        return told if asked is None else evolve(told, retry_after=asked)
    return told


def refusal(response: Response, now: float) -> ProviderError | None:
    """The error that an answer to a reading call stands for; None for a success."""
    if response.is_success:
        return None
    return refused_reading(read_whole(response, Kind.READ, now), response.status)


def read_problem(response: Response) -> Problem:
    """The errors in an answer: a list, in some answers one alone. An empty one if it holds none."""
    try:
        body = response.json()
    except InvalidResponse:
        return Problem.read(None)
    return Problem.read(json_array(body) or [body])
