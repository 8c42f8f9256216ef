"""How Pipedrive tells that it has had enough.

https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting: 429 both for a burst (a window of 2 seconds for each
token) and for the day's tokens used up; and for who goes on all the same a 403 with a page in HTML, by Cloudflare.
"""

from __future__ import annotations

from http import HTTPStatus

from ratesync.http.feedback import ThrottleReader
from ratesync.http.response import Response
from ratesync.model.feedback import Feedback, Reading, ThrottleCause
from ratesync.rules.header_number import parse_count
from ratesync.rules.told_quota import make_reading

BURST_WINDOW = 2.0
"""Seconds over which a burst is counted."""
BLOCKED_FOR = 300.0
"""Seconds for which a connection that Cloudflare blocks is left alone; nobody tells how long it lasts."""


def throttle_reader(cost: int, *, is_search: bool = False) -> ThrottleReader:
    """Reads of an answer what it tells of the burst and the day's tokens.

    :param cost: tokens that the request takes: fewer left over than that are none.
    :param is_search: searches have a burst of their own (10 requests): what is told of it is nothing about the other.
    """

    def read(response: Response) -> Feedback | None:
        if response.status == HTTPStatus.FORBIDDEN and not is_json(response):
            return Feedback(cause=ThrottleCause.OVERLOAD, hold_for=BLOCKED_FOR)
        burst = _burst(response)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            tokens_left = _count(response, "x-daily-ratelimit-token-remaining")
            if tokens_left is not None and tokens_left < cost:
                return Feedback(cause=ThrottleCause.BUDGET)
            return Feedback(cause=ThrottleCause.OVERLOAD, hold_for=BURST_WINDOW) if is_search else _refused(burst)
        return None if burst is None or is_search else Feedback(readings=(burst,))

    return read


def is_json(response: Response) -> bool:
    """Tell whether the answer says that it is JSON, as all of Pipedrive's own are."""
    return "json" in response.headers.get("content-type", "")


def _refused(burst: Reading | None) -> Feedback | None:
    """Why a 429 came, as far as its headers tell. A burst that is not used up leaves the day's tokens."""
    if burst is None or burst.remaining is None:
        return None
    if burst.remaining == 0:
        return Feedback(readings=(burst,), cause=ThrottleCause.RATE, hold_for=burst.reset_after or BURST_WINDOW)
    return Feedback(cause=ThrottleCause.BUDGET)


def _burst(response: Response) -> Reading | None:
    """How the burst stands. The headers do not name its window, but the documentation does."""
    reset = _count(response, "x-ratelimit-reset")
    return make_reading(
        limit=_count(response, "x-ratelimit-limit"),
        remaining=_count(response, "x-ratelimit-remaining"),
        reset_after=None if reset is None else min(float(reset), BURST_WINDOW),
        per=BURST_WINDOW,
    )


def _count(response: Response, name: str) -> int | None:
    return parse_count(response.headers.get(name))
