"""From an answer to the outcome of an operation."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from attrs import evolve

from ratesync.http.reason import code_of, reason_of
from ratesync.http.response import Response
from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied, Outcome, Rejected
from ratesync.rules.http_status import outcome_for_status
from ratesync.rules.retry_after import parse_retry_after


def read_outcome(response: Response, kind: Kind, *, now: float, secrets: Iterable[str] = ()) -> Outcome:
    """What status and headers say about an operation of ``kind``.

    ``Applied`` comes with the ETag as the record's version; ids and records are in the body, which the adapter reads. A
    failure has a reason in words and, if it is final, the provider's own code (:mod:`ratesync.http.reason`).

    :param now: the instant in seconds since the epoch. A Retry-After date counts from the answer's own Date, so that a
        provider's wrong clock does no harm; ``now`` stands in where there is none.
    :param secrets: what must not be repeated in a reason: the values of the credential headers sent.
    """
    outcome = outcome_for_status(
        response.status,
        kind=kind,
        reason="" if response.is_success else reason_of(response, secrets),
        retry_after=parse_retry_after(response.headers.get("retry-after"), _server_time(response, now)),
    )
    match outcome:
        case Applied():
            return evolve(outcome, version=response.headers.get("etag"))
        case Rejected():
            return evolve(outcome, code=code_of(response) or outcome.code)
        case _:
            return outcome


def _server_time(response: Response, now: float) -> float:
    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError, OSError):
        return now
