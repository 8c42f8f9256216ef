"""What an answer tells of the provider's quotas."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache

from attrs import evolve

from ratesync.http.response import Response
from ratesync.model.feedback import Feedback
from ratesync.rules.feedback import join_feedback, read_headers

ThrottleReader = Callable[[Response], Feedback | None]
"""Reads of an answer's status and body what its headers do not tell. It must not raise.

* None: nothing; status and headers decide.
* Feedback with a ``cause``: the call was refused for that, and not carried out, whatever the status. Its ``hold_for``
  is how long to wait where there is no Retry-After.
* Feedback without one: the call was not throttled, whatever the status.
"""


def read_feedback(response: Response, now: float, throttle: ThrottleReader | None = None) -> Feedback:
    """What status and headers, and ``throttle`` if it is given, tell of the provider's quotas. Never raises itself.

    :param now: the instant in seconds since the epoch. A reset that is told as a date or an instant counts from the
        answer's own Date; ``now`` stands in where there is none.
    """
    return join_seen(response, now, None if throttle is None else throttle(response))


def join_seen(response: Response, now: float, seen: Feedback | None) -> Feedback:
    """What the headers tell, and what a :data:`ThrottleReader` has seen, which knows the cause better."""
    told = read_headers(response.headers, response.status, server_time(response, now))
    return told if seen is None else evolve(join_feedback(told, seen), cause=seen.cause)


def server_time(response: Response, now: float) -> float:
    """The instant of the answer by the provider's own clock; ``now`` if it does not tell."""
    at = _instant(response.headers.get("date", ""))
    return now if at is None else at


@lru_cache(maxsize=8)  # a date is that of all answers within its second
def _instant(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
