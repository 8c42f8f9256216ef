from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.batch import Capabilities, CreateIdentity
from ratesync.model.operation import Kind, Operation, OperationState
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.policy import RetryPolicy
from ratesync.model.record import Record
from ratesync.rules.retry import backoff
from ratesync.rules.verdict import (
    EARLIER_ATTEMPT,
    Again,
    Finish,
    Hold,
    Repeat,
    Stop,
    Verdict,
    decide_claimed,
    decide_repeat,
    is_failure,
    is_throttled,
    judge,
    rest_before_repeat,
)

POLICY = RetryPolicy()
SURE_IDENTITY = Capabilities(create_identity=CreateIdentity.IDEMPOTENCY_KEY)

waits = st.none() | st.floats(allow_nan=True)
outcomes = st.one_of(
    st.builds(Applied, st.none() | st.just("42")),
    st.builds(Conflict, st.just("changed"), st.none() | st.just(Record("42", {}, "v2"))),
    st.builds(RetryLater, st.just("later"), st.sampled_from(Cause), waits),
    st.builds(Rejected, st.just("wrong"), st.none() | st.just("422")),
    st.builds(Unknown, st.just("lost")),
)
situations = st.fixed_dictionaries(
    {
        "attempts": st.integers(0, 20),
        "sent_before": st.booleans(),
        "circuit_closed": st.booleans(),
        "affordable": st.booleans(),
        "fraction": st.floats(0, 1, exclude_max=True),
    }
)


def operation(kind: Kind = Kind.UPDATE, *, record_id: str | None = "42", if_version: str | None = None) -> Operation:
    return Operation(
        provider="acme", resource="contacts", kind=kind, record_id=record_id, if_version=if_version, id="id"
    )


def verdict(
    outcome: Outcome,
    wanted: Operation | None = None,
    capabilities: Capabilities = SURE_IDENTITY,
    policy: RetryPolicy = POLICY,
    **situation: Any,
) -> Verdict:
    usual: dict[str, Any] = {
        "attempts": 0,
        "sent_before": False,
        "circuit_closed": True,
        "affordable": True,
        "fraction": 0.5,
    }
    return judge(outcome, wanted or operation(), capabilities, policy, **(usual | situation))


def dead(outcome: Outcome) -> Finish:
    return Finish(OperationState.DEAD, outcome)


CONDITIONAL = [Kind.UPDATE, Kind.UPSERT, Kind.DELETE]
operations = st.one_of(
    st.builds(operation, st.sampled_from(Kind)),
    st.builds(operation, st.just(Kind.CREATE), record_id=st.none()),
    st.builds(operation, st.sampled_from(CONDITIONAL), if_version=st.just("v1")),
)
adapters = st.builds(Capabilities, create_identity=st.sampled_from(CreateIdentity))


@pytest.mark.parametrize(("kind", "identity", "record_id"), list(itertools.product(Kind, CreateIdentity, [None, "42"])))
def test_only_a_create_without_identity_is_not_repeated(
    kind: Kind, identity: CreateIdentity, record_id: str | None
) -> None:
    repeat = decide_repeat(operation(kind, record_id=record_id), Capabilities(create_identity=identity))
    if kind is not Kind.CREATE or identity is CreateIdentity.IDEMPOTENCY_KEY:
        assert repeat is Repeat.SEND
    elif identity is CreateIdentity.LOOKUP:
        assert repeat is Repeat.LOOKUP
    elif identity is CreateIdentity.CLIENT_ID and record_id is not None:
        assert repeat is Repeat.SEND
    else:
        assert repeat is Repeat.REFUSE


@given(outcomes, operations, adapters, situations)
def test_completed_means_applied_and_dead_means_refused_or_in_doubt(
    outcome: Outcome, wanted: Operation, capabilities: Capabilities, situation: dict[str, Any]
) -> None:
    decision = judge(outcome, wanted, capabilities, POLICY, **situation)
    if isinstance(decision, Finish):
        assert decision.state in {OperationState.COMPLETED, OperationState.DEAD}
        assert (decision.state is OperationState.COMPLETED) is isinstance(decision.outcome, Applied)
        assert not isinstance(decision.outcome, RetryLater)


@given(outcomes, operations, adapters, situations)
def test_attempts_count_while_the_circuit_is_closed_and_only_what_is_unknown_may_have_been_sent(
    outcome: Outcome, wanted: Operation, capabilities: Capabilities, situation: dict[str, Any]
) -> None:
    decision = judge(outcome, wanted, capabilities, POLICY, **situation)
    if isinstance(decision, Again):
        assert decision.sent is isinstance(outcome, Unknown)
        assert decision.counted is situation["circuit_closed"]


@given(outcomes, operations, adapters, situations)
def test_every_delay_is_within_the_policy(
    outcome: Outcome, wanted: Operation, capabilities: Capabilities, situation: dict[str, Any]
) -> None:
    decision = judge(outcome, wanted, capabilities, POLICY, **situation)
    if isinstance(decision, Hold) and decision.alarm is not None:
        assert decision.delay == POLICY.untrusted_delay
    elif isinstance(decision, Again | Hold):
        assert 0.0 <= decision.delay <= POLICY.max_delay


@given(st.sampled_from(Cause), waits, operations, adapters, situations)
def test_nothing_dies_of_a_provider_that_is_down_throttles_or_refuses_credentials(
    cause: Cause, wait: float | None, wanted: Operation, capabilities: Capabilities, situation: dict[str, Any]
) -> None:
    outcome = RetryLater("later", cause, wait)
    assert not isinstance(judge(outcome, wanted, capabilities, POLICY, **situation), Finish)


@given(adapters, st.sampled_from([None, "42"]), situations)
def test_case_58_a_create_in_doubt_is_never_sent_blindly_again(
    capabilities: Capabilities, record_id: str | None, situation: dict[str, Any]
) -> None:
    create = operation(Kind.CREATE, record_id=record_id)
    decision = judge(Unknown("lost"), create, capabilities, POLICY, **situation)
    if decide_repeat(create, capabilities) is Repeat.REFUSE:
        assert isinstance(decision, Finish)
        assert isinstance(decision.outcome, Unknown)
        assert decision.outcome.reason.startswith("lost; ")
        assert "may or may not have been applied" in decision.outcome.reason
    elif situation["attempts"] + 1 < POLICY.max_attempts:
        assert isinstance(decision, Again)


def test_what_was_applied_is_completed() -> None:
    applied = Applied("42", "v2")
    assert verdict(applied) == Finish(OperationState.COMPLETED, applied)


def test_what_was_rejected_is_dead() -> None:
    assert verdict(Rejected("no such field", "422")) == dead(Rejected("no such field", "422"))


def test_a_repeated_operation_that_is_rejected_says_that_the_first_attempt_may_have_applied_it() -> None:
    decision = verdict(Rejected("taken", "422"), sent_before=True)
    assert isinstance(decision, Finish)
    assert isinstance(decision.outcome, Rejected)
    assert (decision.state, decision.outcome.code) == (OperationState.DEAD, "422")
    assert decision.outcome.reason.startswith(f"taken; {EARLIER_ATTEMPT}")


def test_case_57_a_conflict_is_dead_and_says_what_the_provider_holds() -> None:
    conflict = Conflict("changed", Record("42", {"a": 1}, "v2"))
    assert verdict(conflict, operation(if_version="v1")) == dead(conflict)
    assert verdict(conflict, operation(if_version=None), sent_before=True) == dead(conflict)


@pytest.mark.parametrize(("current", "version"), [(Record("42", {}, "v1"), "v1"), (None, None)])
def test_case_58_a_repeated_create_that_meets_itself_was_applied(current: Record | None, version: str | None) -> None:
    by_client = Capabilities(create_identity=CreateIdentity.CLIENT_ID)
    decision = verdict(Conflict("exists", current), operation(Kind.CREATE), by_client, sent_before=True)
    assert decision == Finish(OperationState.COMPLETED, Applied("42", version))


@pytest.mark.parametrize(
    ("identity", "record_id", "sent_before"),
    [
        (CreateIdentity.CLIENT_ID, "42", False),
        (CreateIdentity.CLIENT_ID, None, True),
        (CreateIdentity.IDEMPOTENCY_KEY, "42", True),
        (CreateIdentity.LOOKUP, "42", True),
        (CreateIdentity.NONE, "42", True),
    ],
)
def test_any_other_create_that_conflicts_is_dead(
    identity: CreateIdentity, record_id: str | None, sent_before: bool
) -> None:
    create = operation(Kind.CREATE, record_id=record_id)
    capabilities = Capabilities(create_identity=identity)
    conflict = Conflict("exists")
    assert verdict(conflict, create, capabilities, sent_before=sent_before) == dead(conflict)


def test_case_58_a_conditional_write_that_conflicts_with_itself_says_so() -> None:
    conflict = Conflict("changed", Record("42", {}, "v2"))
    decision = verdict(conflict, operation(if_version="v1"), sent_before=True)
    assert isinstance(decision, Finish)
    assert decision.state is OperationState.DEAD
    assert isinstance(decision.outcome, Conflict)
    assert decision.outcome.current == conflict.current
    assert decision.outcome.reason.startswith("changed; ")
    assert EARLIER_ATTEMPT in decision.outcome.reason


def test_case_43_a_throttled_lane_is_held_as_long_as_the_provider_asks() -> None:
    assert verdict(RetryLater("slow down", Cause.THROTTLED, 7.5)) == Hold(7.5)
    assert verdict(RetryLater("slow down", Cause.THROTTLED, 0.75)) == Hold(0.75)
    assert verdict(RetryLater("slow down", Cause.THROTTLED, 1e9)) == Hold(POLICY.max_delay)
    assert verdict(RetryLater("slow down", Cause.THROTTLED, 7.5), affordable=False, attempts=9) == Hold(7.5)


@pytest.mark.parametrize("wait", [None, 0.0, -1.0, float("nan")])
def test_case_44_without_a_wish_a_throttled_lane_is_held_for_a_jittered_while(wait: float | None) -> None:
    outcome = RetryLater("slow down", Cause.THROTTLED, wait)
    for times in range(12):
        assert verdict(outcome, attempts=times, fraction=0.25) == Hold(backoff(POLICY, times + 1, 0.25))


def test_cases_55_56_refused_credentials_stop_the_lane_and_kill_nothing() -> None:
    assert verdict(RetryLater("token revoked", Cause.UNAUTHORISED), attempts=99) == Stop("token revoked")


@pytest.mark.parametrize("retry_after", [None, 5.0])
def test_case_53_a_lane_whose_provider_cannot_be_trusted_is_held_for_ten_minutes_with_an_alarm(
    retry_after: float | None,
) -> None:
    outcome = RetryLater("certificate has expired", Cause.UNTRUSTED, retry_after)
    assert verdict(outcome, attempts=99, affordable=False) == Hold(600.0, "certificate has expired")


@pytest.mark.parametrize("cause", [Cause.NOT_SENT, Cause.UNAVAILABLE])
def test_what_was_surely_not_applied_is_counted_for_the_wait_and_never_given_up(cause: Cause) -> None:
    delay = backoff(POLICY, 3, 0.5)
    assert verdict(RetryLater("down", cause), attempts=2) == Again(delay, counted=True, sent=False)
    assert verdict(RetryLater("down", cause, 60.0), attempts=2) == Again(60.0, counted=True, sent=False)
    assert verdict(RetryLater("down", cause), attempts=2, circuit_closed=False) == Again(
        delay, counted=False, sent=False
    )
    expensive = verdict(RetryLater("down", cause), attempts=2, affordable=False)
    assert expensive == Again(POLICY.max_delay, counted=True, sent=False)
    assert isinstance(verdict(RetryLater("down", cause), attempts=10_000), Again)


def test_case_45_an_unknown_outcome_is_tried_again_and_counted_while_the_circuit_is_closed() -> None:
    delay = backoff(POLICY, 3, 0.5)
    assert verdict(Unknown("500"), attempts=2) == Again(delay, counted=True, sent=True)
    assert verdict(Unknown("500"), attempts=2, circuit_closed=False) == Again(delay, counted=False, sent=True)
    assert verdict(Unknown("500"), affordable=False) == Again(POLICY.max_delay, counted=True, sent=True)


def test_the_last_attempt_is_the_one_that_the_policy_allows() -> None:
    policy = RetryPolicy(max_attempts=3)
    assert isinstance(verdict(Unknown("500"), policy=policy, attempts=1), Again)
    decision = verdict(Unknown("500"), policy=policy, attempts=2)
    assert isinstance(decision, Finish)
    assert isinstance(decision.outcome, Unknown)
    assert decision.state is OperationState.DEAD
    assert decision.outcome.reason.startswith("500; given up after 3 attempts; it may or may not have been applied")


def test_case_60_an_outage_uses_no_attempt_up() -> None:
    for policy in (POLICY, RetryPolicy(max_attempts=1)):
        assert isinstance(verdict(Unknown("500"), policy=policy, attempts=99, circuit_closed=False), Again)


@pytest.mark.parametrize(
    ("outcome", "fails"),
    [
        (Applied(), False),
        (Conflict("changed"), False),
        (Rejected("wrong"), False),
        (Unknown("lost"), True),
        (RetryLater("down", Cause.NOT_SENT), True),
        (RetryLater("expired", Cause.UNTRUSTED), True),
        (RetryLater("down", Cause.UNAVAILABLE), True),
        (RetryLater("slow down", Cause.THROTTLED), False),
        (RetryLater("who are you", Cause.UNAUTHORISED), False),
    ],
    ids=repr,
)
def test_only_a_provider_that_does_not_answer_fails(outcome: Outcome, fails: bool) -> None:
    assert is_failure(outcome) is fails


@pytest.mark.parametrize("deadline", [None, 100.0, 101.0])
def test_an_operation_in_time_may_be_attempted(deadline: float | None) -> None:
    assert decide_claimed(100.0, deadline, POLICY.max_lapses - 1, POLICY) is None


def test_an_operation_past_its_deadline_is_rejected() -> None:
    outcome = decide_claimed(100.1, 100.0, 0, POLICY)
    assert isinstance(outcome, Rejected)
    assert outcome.code == "deadline"


def test_the_doubt_about_an_earlier_attempt_outlives_the_deadline() -> None:
    outcome = decide_claimed(100.1, 100.0, 0, POLICY, sent_before=True)
    assert isinstance(outcome, Unknown)
    assert "deadline" in outcome.reason
    assert "may or may not have been applied" in outcome.reason


@pytest.mark.parametrize("lapses", range(6))
@pytest.mark.parametrize("deadline", [None, 99.0, 101.0])
def test_case_18_poison_is_dead_after_the_lapses_that_the_policy_allows(lapses: int, deadline: float | None) -> None:
    outcome = decide_claimed(100.0, deadline, lapses, RetryPolicy(max_lapses=3))
    if lapses >= 3:
        assert isinstance(outcome, Unknown)
        assert f"{lapses} workers" in outcome.reason
        assert "may or may not have been applied" in outcome.reason
    else:
        assert (outcome is None) is (deadline != 99.0)


def test_only_a_refusal_because_of_a_quota_is_a_throttle() -> None:
    assert is_throttled(RetryLater("later", Cause.THROTTLED))
    assert not any(is_throttled(RetryLater("later", cause)) for cause in Cause if cause is not Cause.THROTTLED)
    assert not is_throttled(Unknown("lost"))


def test_a_create_that_is_looked_up_rests_for_as_long_as_the_index_lags() -> None:
    lagging = Capabilities(create_identity=CreateIdentity.LOOKUP, lookup_after=40.0)
    create = Operation.create("acme", "contacts", {})
    assert rest_before_repeat(create, lagging) == 40.0
    assert rest_before_repeat(Operation.read("acme", "contacts", "1"), lagging) == 0.0
    verdict = judge(
        Unknown("lost"),
        create,
        lagging,
        RetryPolicy(base_delay=0.1),
        attempts=0,
        sent_before=False,
        circuit_closed=True,
        affordable=True,
        fraction=0.5,
    )
    assert verdict == Again(40.0, counted=True, sent=True)
