"""What an answer of Pipedrive's means.

https://pipedrive.readme.io/docs/core-api-concepts-responses and ``core-api-concepts-http-status-codes``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from attrs import field, frozen

from ratesync.errors import InvalidResponse, ProviderError
from ratesync.http.feedback import ThrottleReader
from ratesync.http.outcome import read_answer
from ratesync.http.payload import json_object
from ratesync.http.reason import code_of, reason_of
from ratesync.http.response import Response
from ratesync.model.feedback import Feedback
from ratesync.model.operation import Kind
from ratesync.model.outcome import GONE, NO_SUCH_PAGE, Applied, Cause, Outcome, Rejected, RetryLater
from ratesync.providers.pipedrive.throttle import is_json
from ratesync.rules.provider_errors import error_for_outcome

_SCOPE = "scope"
"""In the message of a 403 that is about the app's rights, not about a record ("Scope and URL mismatch")."""


@frozen
class Answer:
    """One answer: what it came to, and what it told of quotas."""

    status: int
    outcome: Outcome
    body: dict[str, Any] = field(repr=False)
    """The JSON object that it is; empty where the outcome is no ``Applied``."""
    response: Response
    feedback: Feedback

    @property
    def data(self) -> Any:
        """What was asked for."""
        return self.body.get("data")

    def checked(self) -> Answer:
        """The answer, if it is a success.

        :raises ProviderError: it is none.
        """
        if isinstance(self.outcome, Applied):
            return self
        raise _error_of(self.outcome)


def interpret(response: Response, kind: Kind, now: float, throttle: ThrottleReader) -> Answer:
    """What the answer to a request of that kind says.

    * Success is what says ``"success": true``, in JSON.
    * 402 (the company's account is not open) and a 403 for want of a scope pause the connection.
    * Any other 403 in JSON is about the record or a limit of the plan: rejected. In HTML it is Cloudflare's: throttled.
    * A 404 or 410 that is not in JSON is a wrong address, or somebody in between: no record is gone for it.
    * 501 is no failure on the way, but an endpoint that does not exist: rejected.

    :raises InvalidResponse: it is not Pipedrive that answers, or nothing that can be understood.
    """
    outcome, feedback = read_answer(response, kind, now=now, throttle=throttle)
    outcome = _corrected(outcome, response)
    body: dict[str, Any] = {}
    if isinstance(outcome, Applied):
        body = _object(response)
        outcome = Applied()  # an ETag, which a proxy may add, is no version of Pipedrive's
        if response.is_success and body.get("success") is not True:
            outcome = Rejected(reason_of(response), code_of(response) or "unsuccessful")
    return Answer(response.status, outcome, body, response, feedback)


def record_gone(record_id: str | None) -> Rejected:
    """The outcome for a record that Pipedrive has no longer, or that the connection's user cannot see."""
    return Rejected(f"Pipedrive has no record {record_id}, or does not show it to this user", GONE)


def _corrected(outcome: Outcome, response: Response) -> Outcome:
    """The outcome where Pipedrive means something else by a status than HTTP does."""
    if isinstance(outcome, RetryLater) and outcome.cause is Cause.THROTTLED:
        return outcome
    match response.status:
        case HTTPStatus.PAYMENT_REQUIRED:
            return RetryLater(reason_of(response), Cause.UNAUTHORISED)
        case HTTPStatus.FORBIDDEN:
            reason = reason_of(response)
            return outcome if _SCOPE in reason.lower() else Rejected(reason, code_of(response) or "403")
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE if not is_json(response):
            return Rejected(reason_of(response), NO_SUCH_PAGE)
        case HTTPStatus.NOT_IMPLEMENTED:
            return Rejected(reason_of(response), code_of(response) or "501")
        case _:
            return outcome


def _object(response: Response) -> dict[str, Any]:
    body = json_object(response.json())
    if body is None or "success" not in body:
        raise InvalidResponse("the answer is not one of Pipedrive's: it has no `success`")
    return body


def _error_of(outcome: Outcome) -> ProviderError:
    """The outcome as an error, for what is no operation."""
    if isinstance(outcome, RetryLater):
        return error_for_outcome(outcome)
    return InvalidResponse("" if isinstance(outcome, Applied) else outcome.reason)
