from __future__ import annotations

import itertools

import pytest

from ratesync.model.operation import Kind
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.rules.http_status import outcome_for_status

REASON = "as the provider said"
WAIT = 7.0


def outcome(status: int, kind: Kind = Kind.UPDATE) -> Outcome:
    return outcome_for_status(status, kind=kind, reason=REASON, retry_after=WAIT)


def later(cause: Cause) -> Outcome:
    return RetryLater(REASON, cause, WAIT)


EXPECTED: dict[int, Outcome] = {
    **dict.fromkeys(range(200, 300), Applied()),
    **{status: Rejected(REASON, str(status)) for status in (*range(300, 400), *range(400, 500))},
    **dict.fromkeys(range(500, 600), Unknown(REASON)),
    401: later(Cause.UNAUTHORISED),
    403: later(Cause.UNAUTHORISED),
    408: Unknown(REASON),
    409: Conflict(REASON),
    412: Conflict(REASON),
    425: later(Cause.UNAVAILABLE),
    429: later(Cause.THROTTLED),
    503: later(Cause.UNAVAILABLE),
    529: later(Cause.THROTTLED),
}


@pytest.mark.parametrize("kind", Kind)
def test_every_status_has_the_outcome_of_the_table(kind: Kind) -> None:
    gone = {404: Applied(), 410: Applied()} if kind is Kind.DELETE else {}
    unchanged = {304: Applied()} if kind is Kind.READ else {}
    expected = EXPECTED | gone | unchanged
    assert {status: outcome(status, kind) for status in expected} == expected


@pytest.mark.parametrize(("status", "kind"), list(itertools.product([-1, 0, 100, 199, 600, 999], Kind)))
def test_what_is_no_final_status_is_unknown(status: int, kind: Kind) -> None:
    assert outcome(status, kind) == Unknown(REASON)


def test_case_45_a_server_error_leaves_in_doubt_whether_it_was_applied() -> None:
    assert [outcome(status) for status in (500, 502, 504)] == [Unknown(REASON)] * 3


def test_case_51_a_redirect_is_rejected() -> None:
    assert [outcome(status) for status in (301, 302, 307, 308)] == [
        Rejected(REASON, code) for code in ("301", "302", "307", "308")
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_case_56_refused_credentials_stop_the_connection(status: int) -> None:
    assert outcome(status) == later(Cause.UNAUTHORISED)


@pytest.mark.parametrize("status", [409, 412])
def test_case_57_a_failed_condition_is_a_conflict(status: int) -> None:
    assert outcome(status) == Conflict(REASON)


def test_a_wait_is_optional() -> None:
    answer = outcome_for_status(429, kind=Kind.READ, reason=REASON, retry_after=None)
    assert answer == RetryLater(REASON, Cause.THROTTLED, None)
