"""Does what an adapter answered make sense?"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from ratesync.model.batch import Reply
from ratesync.model.feedback import NO_FEEDBACK, Feedback, Reading, ThrottleCause
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record


def check_result(result: object) -> Outcome:
    """The outcome, or ``Unknown`` where the adapter answered with something else: the operation may have been applied.

    A wish to wait that is no number of seconds counts as not given.
    """
    if not _is_outcome(result):
        return Unknown(f"the adapter's outcome is malformed (a {type(result).__name__})")
    if isinstance(result, RetryLater) and not _is_wait(result.retry_after):
        return evolve(result, retry_after=None)
    return result  # type: ignore[return-value]  # looked at by _is_outcome


def check_feedback(answer: object) -> Feedback:
    """What the answer told of quotas; nothing where that is not in order, as it is a bonus and no duty."""
    if not isinstance(answer, Reply) or not isinstance(answer.feedback, Feedback):
        return NO_FEEDBACK
    feedback = answer.feedback
    fine = (
        all(_is_reading(reading) for reading in feedback.readings)
        and all(type(cost) is int and cost >= 0 for cost in feedback.charged.values())
        and _is_wait(feedback.hold_for)
        and (feedback.cause is None or isinstance(feedback.cause, ThrottleCause))
    )
    return feedback if fine else NO_FEEDBACK


def _is_reading(reading: object) -> bool:
    return (
        isinstance(reading, Reading)
        and all(
            number is None or (type(number) is int and number >= 0) for number in (reading.limit, reading.remaining)
        )
        and _is_wait(reading.reset_after)
        and _is_wait(reading.per)
    )


def _is_outcome(result: object) -> bool:
    match result:
        case Applied(record_id=None | str(), version=None | str(), record=record):
            return record is None or _is_record_or_none(record)
        case Conflict(reason=str(), current=current):
            return _is_record_or_none(current)
        case (
            RetryLater(reason=str(), cause=Cause()) | Unknown(reason=str()) | Rejected(reason=str(), code=None | str())
        ):
            return True
        case _:
            return False


def _is_record_or_none(value: object) -> bool:
    match value:
        case None:
            return True
        case Record(
            record_id=str(), fields=fields, version=None | str(), changed_at=None | int() | float(), field_times=times
        ):
            return isinstance(fields, Mapping) and isinstance(times, Mapping)
        case _:
            return False


def _is_wait(seconds: object) -> bool:
    if seconds is None:
        return True
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0
