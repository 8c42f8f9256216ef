"""What a whole answer says: by its status, and by the error in it.

https://developers.hubspot.com/docs/api-reference/error-handling
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from attrs import evolve

from ratesync.errors import InvalidResponse, ProviderError
from ratesync.http.feedback import server_time
from ratesync.http.outcome import NOT_FOUND, read_answer
from ratesync.http.payload import json_object
from ratesync.http.reason import reason_of
from ratesync.http.response import Response
from ratesync.http.throttle_readers import hubspot_throttle
from ratesync.model.feedback import Feedback
from ratesync.model.operation import Kind
from ratesync.model.outcome import NO_SUCH_PAGE, Applied, Cause, Conflict, Outcome, Rejected, RetryLater
from ratesync.providers.hubspot.problem import LOCKED_FOR, Problem
from ratesync.providers.refusal import PAUSE, refused_reading
from ratesync.rules.masking import mask_outcome
from ratesync.rules.retry_after import parse_retry_after

_MIGRATING = 477
MIGRATING_FOR = 600.0
"""Seconds to wait while an account moves to another data centre, where HubSpot does not say how long."""
_WAITS = {
    HTTPStatus.LOCKED: LOCKED_FOR,
    _MIGRATING: MIGRATING_FOR,
    HTTPStatus.SERVICE_UNAVAILABLE: PAUSE,
    # What the network before HubSpot answers when it did not get through to it:
    521: PAUSE,
    523: PAUSE,
    525: PAUSE,
    526: PAUSE,
}
"""Statuses that say that nothing was carried out and that it will pass, and how long to wait."""
_POLICY_WAITS = {"SECONDLY": 1.0}
"""Of searches, whose answers have no header that tells."""


def read_whole(response: Response, kind: Kind, now: float) -> tuple[Outcome, Feedback]:
    """What the answer says of all operations of its call, and of quotas. A success comes as plain ``Applied``."""
    outcome, feedback = read_answer(response, kind, now=now, throttle=hubspot_throttle)
    wait = _WAITS.get(response.status)
    if wait is not None:
        reason = outcome.reason if not isinstance(outcome, Applied) else f"HTTP {response.status}"
        asked = parse_retry_after(response.headers.get("retry-after"), server_time(response, now))
        outcome = RetryLater(reason, Cause.UNAVAILABLE, wait if asked is None else asked)
    elif response.status in NOT_FOUND:
        outcome = _missing(response, kind)
    else:
        outcome = _in_hubspots_words(response, kind, outcome)
    return mask_outcome(outcome, response.secrets), feedback


def _in_hubspots_words(response: Response, kind: Kind, outcome: Outcome) -> Outcome:
    """The outcome with what only HubSpot's error tells."""
    match outcome:
        case Rejected():
            return _rejected(response, outcome)
        case Conflict():
            return Problem.read(_body(response)).conflict(outcome.reason, kind)
        case Applied():
            return evolve(outcome, version=None)
        case RetryLater(cause=Cause.THROTTLED, retry_after=None):
            return evolve(outcome, retry_after=_POLICY_WAITS.get(_policy(response)))
        case _:
            return outcome


def _rejected(response: Response, outcome: Rejected) -> Rejected:
    """The rejection with HubSpot's names of what is wrong, in place of a message that then repeats values."""
    problem = Problem.read(_body(response))
    reason = f"HTTP {response.status}: {problem.reason}" if problem.details else outcome.reason
    return Rejected(reason, problem.code or problem.category or outcome.code)


def _missing(response: Response, kind: Kind) -> Outcome:
    """What a 404 says: the record is gone, if HubSpot's words are in it; else something stands at a wrong address."""
    problem = Problem.read(_body(response))
    if problem.is_not_found:
        return problem.outcome(kind)
    return Rejected(reason_of(response), code=NO_SUCH_PAGE)


def _policy(response: Response) -> str:
    """The policy that a call was refused for, as HubSpot names it."""
    return str((json_object(_body(response)) or {}).get("policyName", ""))


def refusal(response: Response, now: float) -> ProviderError | None:
    """The error that an answer to a reading call stands for; None for a success."""
    if response.is_success:
        return None
    outcome, _ = read_whole(response, Kind.READ, now)
    return refused_reading(outcome, response.status)


def _body(response: Response) -> Any:
    try:
        return response.json()
    except InvalidResponse:
        return None
