"""What an error of an adapter means for the operations of its call, and the other way round."""

from __future__ import annotations

from ratesync.errors import NotSent, ProviderError, Throttled, Unauthorised, Unavailable, UnsafeRedirect, Untrusted
from ratesync.model.outcome import Cause, Outcome, Rejected, RetryLater, Unknown


def outcome_for_error(error: ProviderError) -> Outcome:
    """The outcome of every operation in a call that ended with ``error``.

    What is not known to be harmless (a lost or late answer, one that cannot be understood, a subclass this function has
    never heard of) is :class:`~ratesync.model.outcome.Unknown`: the provider may have carried the operations out.
    """
    reason = str(error) or type(error).__name__
    match error:
        case Untrusted():
            return RetryLater(reason, Cause.UNTRUSTED)
        case NotSent():
            return RetryLater(reason, Cause.NOT_SENT)
        case Throttled() | Unavailable():
            cause = Cause.THROTTLED if isinstance(error, Throttled) else Cause.UNAVAILABLE
            return RetryLater(reason, cause, error.retry_after)
        case Unauthorised():
            return RetryLater(reason, Cause.UNAUTHORISED)
        case UnsafeRedirect():
            return Rejected(reason, code="unsafe_redirect")
        case _:
            return Unknown(reason)


def error_for_outcome(outcome: RetryLater) -> ProviderError:
    """The error for a whole call that means what ``outcome`` does. :func:`outcome_for_error` undoes it."""
    match outcome.cause:
        case Cause.THROTTLED:
            return Throttled(outcome.reason, retry_after=outcome.retry_after)
        case Cause.UNAUTHORISED:
            return Unauthorised(outcome.reason)
        case Cause.NOT_SENT:
            return NotSent(outcome.reason)
        case Cause.UNTRUSTED:
            return Untrusted(outcome.reason)
        case _:
            return Unavailable(outcome.reason, retry_after=outcome.retry_after)
