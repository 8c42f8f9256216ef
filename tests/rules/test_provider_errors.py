from __future__ import annotations

from typing import Any

import pytest

from ratesync.errors import (
    AnswerLost,
    CallTimeout,
    InvalidResponse,
    NeedsReauth,
    NotSent,
    PagingBroken,
    ProviderError,
    ResponseTooLarge,
    Throttled,
    Unauthorised,
    Unavailable,
    UnsafeRedirect,
    Untrusted,
)
from ratesync.model.outcome import Cause, Outcome, Rejected, RetryLater, Unknown
from ratesync.rules.provider_errors import error_for_outcome, outcome_for_error


class SomebodysOwn(ProviderError):
    """A subclass that an adapter's author made."""


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotSent("no route"), RetryLater("no route", Cause.NOT_SENT)),
        (Untrusted("expired"), RetryLater("expired", Cause.UNTRUSTED)),
        (AnswerLost("gone"), Unknown("gone")),
        (CallTimeout("30 s"), Unknown("30 s")),
        (Throttled("slow", retry_after=2.5), RetryLater("slow", Cause.THROTTLED, 2.5)),
        (Throttled("slow"), RetryLater("slow", Cause.THROTTLED)),
        (Unavailable("down", retry_after=60.0), RetryLater("down", Cause.UNAVAILABLE, 60.0)),
        (Unauthorised("who?"), RetryLater("who?", Cause.UNAUTHORISED)),
        (InvalidResponse("html"), Unknown("html")),
        (ResponseTooLarge("big"), Unknown("big")),
        (UnsafeRedirect("away"), Rejected("away", code="unsafe_redirect")),
        (ProviderError("odd"), Unknown("odd")),
        (SomebodysOwn("odd"), Unknown("odd")),
    ],
)
def test_each_error_has_its_outcome(error: ProviderError, outcome: Outcome) -> None:
    assert outcome_for_error(error) == outcome


@pytest.mark.parametrize("cause", Cause)
def test_the_error_that_means_an_outcome_is_read_as_it(cause: Cause) -> None:
    may_wait = cause in {Cause.THROTTLED, Cause.UNAVAILABLE}
    outcome = RetryLater("not now", cause, 2.5 if may_wait else None)
    assert outcome_for_error(error_for_outcome(outcome)) == outcome


def test_an_error_without_words_is_named() -> None:
    assert outcome_for_error(CallTimeout()) == Unknown("CallTimeout")


MORE: dict[type[ProviderError], dict[str, Any]] = {
    NeedsReauth: {"code": "invalid_grant"},
    PagingBroken: {"fault": "page", "page": 2},
}
"""What some errors are made with besides a message."""


def test_no_error_of_the_tree_is_taken_for_done() -> None:
    def subclasses(kind: type[ProviderError]) -> set[type[ProviderError]]:
        return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))

    outcomes = {outcome_for_error(kind("x", **MORE.get(kind, {}))) for kind in subclasses(ProviderError)}
    assert {type(outcome) for outcome in outcomes} == {RetryLater, Rejected, Unknown}
