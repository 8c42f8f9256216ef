"""From an answer to the outcome of an operation."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from attrs import evolve

from ratesync.http.feedback import ThrottleReader, join_seen, server_time
from ratesync.http.reason import code_of, reason_of
from ratesync.http.response import Response
from ratesync.model.feedback import Feedback
from ratesync.model.operation import Kind
from ratesync.model.outcome import NO_SUCH_PAGE, Applied, Cause, Outcome, Rejected, RetryLater
from ratesync.model.secret import Secret
from ratesync.rules.feedback import wait_told
from ratesync.rules.http_status import outcome_for_status
from ratesync.rules.retry_after import parse_retry_after

NOT_FOUND = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
"""Statuses that say that there is nothing at the address."""


def read_outcome(
    response: Response,
    kind: Kind,
    *,
    now: float,
    secrets: Iterable[str | Secret] = (),
    throttle: ThrottleReader | None = None,
) -> Outcome:
    """What status and headers say about an operation of ``kind``.

    ``Applied`` comes with the ETag as the record's version; ids and records are in the body, which the adapter reads. A
    failure has a reason in words and, if it is final, the provider's own code (:mod:`ratesync.http.reason`). A 404 or
    410 with a page of HTML is, of a delete too, ``Rejected`` with code :data:`~ratesync.model.outcome.NO_SUCH_PAGE`: a
    gateway, or whoever stands at a wrong address, says nothing of a record.

    :param now: the instant in seconds since the epoch. A Retry-After date counts from the answer's own Date, so that a
        provider's wrong clock does no harm; ``now`` stands in where there is none.
    :param secrets: what must not be repeated in a reason: the values of the credential headers sent.
    :param throttle: tells throttling where the status does not. What it says is throttled comes to ``RetryLater``
        whatever the status; a 429 or 529 that it says is not throttled is retried as if the provider was unavailable.
    """
    return read_answer(response, kind, now=now, secrets=secrets, throttle=throttle)[0]


def read_answer(
    response: Response,
    kind: Kind,
    *,
    now: float,
    secrets: Iterable[str | Secret] = (),
    throttle: ThrottleReader | None = None,
) -> tuple[Outcome, Feedback]:
    """What :func:`read_outcome` and :func:`~ratesync.http.read_feedback` say, asking ``throttle`` once."""
    secrets = tuple(secrets)
    seen = None if throttle is None else throttle(response)
    feedback = join_seen(response, now, seen)
    reason = "" if response.is_success else reason_of(response, secrets)
    outcome = (
        Rejected(reason, NO_SUCH_PAGE)
        if response.status in NOT_FOUND and _is_html(response)
        else outcome_for_status(response.status, kind=kind, reason=reason, retry_after=None)
    )
    if seen is not None and seen.cause is not None:
        outcome = RetryLater(reason or reason_of(response, secrets), Cause.THROTTLED)
    elif seen is not None and isinstance(outcome, RetryLater) and outcome.cause is Cause.THROTTLED:
        outcome = evolve(outcome, cause=Cause.UNAVAILABLE)
    match outcome:
        case Applied():
            outcome = evolve(outcome, version=response.headers.get("etag"))
        case Rejected():
            outcome = evolve(outcome, code=code_of(response, secrets) or outcome.code)
        case RetryLater():
            outcome = evolve(outcome, retry_after=_retry_after(response, now, outcome, feedback))
        case _:
            pass
    return outcome, feedback


def _is_html(response: Response) -> bool:
    return "html" in response.headers.get("content-type", "").lower()


def _retry_after(response: Response, now: float, outcome: RetryLater, feedback: Feedback) -> float | None:
    """The wait that the provider asks for, or else the one that follows from what it told of its quotas."""
    asked = parse_retry_after(response.headers.get("retry-after"), server_time(response, now))
    if asked is not None or outcome.cause is Cause.UNAUTHORISED:
        return asked
    return wait_told(feedback) if outcome.cause is Cause.THROTTLED else feedback.hold_for
