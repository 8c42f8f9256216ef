"""What to do with an operation after an attempt, and before one."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from attrs import evolve, frozen

from ratesync.model.batch import Capabilities, CreateIdentity
from ratesync.model.operation import Kind, Operation, OperationState
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.policy import RetryPolicy
from ratesync.rules.retry import backoff, retry_delay

DEADLINE = "deadline"
"""Code of the rejection of an operation whose deadline passed before it was attempted."""


EARLIER_ATTEMPT = "an earlier attempt whose answer was lost may have applied it"
"""Part of the reason of every refusal of an operation that may have been applied before."""

Refusal = TypeVar("Refusal", Conflict, Rejected)


class Repeat(StrEnum):
    """How an operation that may have been sent before is repeated."""

    SEND = "send"
    """Send it again: a second time changes nothing, or the provider recognises it."""
    LOOKUP = "lookup"
    """First let the adapter find out whether it was applied."""
    REFUSE = "refuse"
    """Do not: it might be applied twice."""


@frozen
class Finish:
    """The operation leaves the queue."""

    state: OperationState
    """Completed or dead."""
    outcome: Outcome


@frozen
class Again:
    """Attempt the operation again."""

    delay: float
    """Seconds."""
    counted: bool
    """Whether this attempt counts towards ``max_attempts``."""
    sent: bool
    """Whether this attempt may have reached the provider."""


@frozen
class Hold:
    """Not this operation's fault and surely not applied: give the lease back and park the lane."""

    delay: float
    """Seconds."""
    alarm: str | None = None
    """What is wrong, if somebody should look at it: the provider cannot be trusted. None: it only asked to wait."""


@frozen
class Stop:
    """Give the lease back and pause the lane until the host resumes it."""

    reason: str


Verdict = Finish | Again | Hold | Stop


def decide_repeat(operation: Operation, capabilities: Capabilities) -> Repeat:
    """How to repeat an operation that may have been sent before.

    Everything but a create is idempotent by nature, as operations on one record keep their order. A create needs an
    identity that the provider knows.
    """
    identity = capabilities.create_identity
    if operation.kind is not Kind.CREATE or identity is CreateIdentity.IDEMPOTENCY_KEY:
        return Repeat.SEND
    if identity is CreateIdentity.CLIENT_ID and operation.record_id is not None:
        return Repeat.SEND
    return Repeat.LOOKUP if identity is CreateIdentity.LOOKUP else Repeat.REFUSE


def rest_before_repeat(operation: Operation, capabilities: Capabilities) -> float:
    """Seconds that must have passed since an attempt in doubt before anything is done about the operation.

    A lookup that comes too early does not see the record, and the create would be sent twice.
    """
    return capabilities.lookup_after if decide_repeat(operation, capabilities) is Repeat.LOOKUP else 0.0


def judge(
    outcome: Outcome,
    operation: Operation,
    capabilities: Capabilities,
    policy: RetryPolicy,
    *,
    attempts: int,
    sent_before: bool,
    circuit_closed: bool,
    affordable: bool,
    fraction: float,
) -> Verdict:
    """What to do with ``operation`` after an attempt came to ``outcome``.

    ``attempts`` were counted before this one; for a throttled outcome: how often its lane was throttled
    in a row. ``sent_before``: an earlier attempt may have reached the provider.
    ``circuit_closed``: the circuit was closed when this attempt's outcome was known; while it is not, an unknown
    outcome is the provider's fault and does not count. ``affordable``: the retry budget can pay for a retry.
    ``fraction`` is the random part of the delay, from 0 up to 1.
    """
    if isinstance(outcome, Applied):
        return Finish(OperationState.COMPLETED, outcome)
    if isinstance(outcome, Rejected):
        return Finish(OperationState.DEAD, _doubted(outcome) if sent_before else outcome)
    if isinstance(outcome, Conflict):
        return _judge_conflict(outcome, operation, capabilities, sent_before=sent_before)
    attempt = attempts + 1
    if isinstance(outcome, RetryLater):
        delay = retry_delay(policy, attempt, outcome.retry_after, fraction, affordable=affordable)
        # Counted, so that the waits grow; but nothing is ever given up for it: it is not the operation's fault.
        again = Again(delay, counted=circuit_closed, sent=False)
        return _judge_later(outcome, policy, attempt, fraction, again)
    reason = _reason_to_stop(operation, capabilities, policy, attempt if circuit_closed else 0)
    if reason is not None:
        return Finish(OperationState.DEAD, Unknown(_in_doubt(f"{outcome.reason}; {reason}")))
    delay = retry_delay(policy, attempt, None, fraction, affordable=affordable)
    return Again(max(delay, rest_before_repeat(operation, capabilities)), counted=circuit_closed, sent=True)


def is_throttled(outcome: Outcome) -> bool:
    """Tell whether the provider refused the call because of a quota."""
    return isinstance(outcome, RetryLater) and outcome.cause is Cause.THROTTLED


def is_failure(outcome: Outcome) -> bool:
    """Tell whether the outcome speaks against the provider's health, for the circuit.

    Refusals do not: a provider that throttles, rejects or asks for credentials is there and answers.
    """
    if isinstance(outcome, RetryLater):
        return outcome.cause in {Cause.NOT_SENT, Cause.UNTRUSTED, Cause.UNAVAILABLE}
    return isinstance(outcome, Unknown)


def decide_claimed(
    now: float,
    deadline: float | None,
    lapses: int,
    policy: RetryPolicy,
    *,
    sent_before: bool = False,
) -> Outcome | None:
    """The outcome of an operation that must not be attempted any more; None if it may be.

    It is dead if workers lost their lease ``max_lapses`` times while they held it, or if its ``deadline`` (an instant
    in seconds since the epoch) has passed. Where an earlier attempt may have reached the provider, the outcome is
    ``Unknown``, so that the doubt is not hidden.
    """
    if lapses >= policy.max_lapses:
        return Unknown(_in_doubt(f"{lapses} workers in a row crashed or hung while they held it (poison)"))
    if deadline is None or now <= deadline:
        return None
    if sent_before:
        return Unknown(_in_doubt("its deadline passed after an attempt whose answer was lost"))
    return Rejected("its deadline passed before it could be attempted", DEADLINE)


def _judge_conflict(
    outcome: Conflict, operation: Operation, capabilities: Capabilities, *, sent_before: bool
) -> Finish:
    if not sent_before:
        return Finish(OperationState.DEAD, outcome)
    is_create = operation.kind is Kind.CREATE
    if is_create and capabilities.create_identity is CreateIdentity.CLIENT_ID and operation.record_id is not None:
        version = None if outcome.current is None else outcome.current.version
        return Finish(OperationState.COMPLETED, Applied(operation.record_id, version))
    if operation.if_version is not None:
        return Finish(OperationState.DEAD, _doubted(outcome))
    return Finish(OperationState.DEAD, outcome)


def _judge_later(outcome: RetryLater, policy: RetryPolicy, attempt: int, fraction: float, again: Again) -> Verdict:
    if outcome.cause in {Cause.NOT_SENT, Cause.UNAVAILABLE}:
        return again
    if outcome.cause is Cause.UNAUTHORISED:
        return Stop(outcome.reason)
    if outcome.cause is Cause.UNTRUSTED:
        return Hold(policy.untrusted_delay, outcome.reason)
    if outcome.retry_after is not None and outcome.retry_after > 0:
        return Hold(min(outcome.retry_after, policy.max_delay))
    return Hold(backoff(policy, attempt, fraction))


def _reason_to_stop(
    operation: Operation, capabilities: Capabilities, policy: RetryPolicy, counted_attempts: int
) -> str | None:
    """Why an operation whose outcome is unknown must not be repeated; None if it may be."""
    if decide_repeat(operation, capabilities) is Repeat.REFUSE:
        return "the provider cannot tell a repeated create from a second one"
    if counted_attempts >= policy.max_attempts:
        return f"given up after {counted_attempts} attempts"
    return None


def _doubted(outcome: Refusal) -> Refusal:
    """The refusal of a repeated operation, with the doubt about its first attempt."""
    return evolve(outcome, reason=f"{outcome.reason}; {EARLIER_ATTEMPT}: look at the record")


def _in_doubt(reason: str) -> str:
    return f"{reason}; it may or may not have been applied: look at the record, then replay or discard it"
