"""Every error of ratesync, as one tree.

::

    RateSyncError
    ├── ConfigurationError           the engine was put together wrongly
    ├── InvalidOperation             a submitted operation was refused, nothing was enqueued
    │   ├── UnknownProvider          no adapter of that name
    │   ├── UnsupportedOperation     the adapter says it cannot do this
    │   └── InvalidPayload           the fields are not JSON, too deep or too large
    ├── EngineClosed                 the engine is not running (not entered yet, or left)
    ├── ForkedProcess                the engine was used in a forked child
    ├── QueueError
    │   ├── QueueFull                no room; nothing was enqueued
    │   │   └── DeadLettersFull      the dead letters must be looked at first
    │   ├── EnqueueUncertain         the backend did not answer: enqueued or not is unknown
    │   └── CodecError
    │       ├── CorruptItem          stored bytes cannot be read
    │       └── NewerFormat          stored bytes were written by a newer ratesync
    ├── OperationNotFound            no operation of that id is known
    ├── OperationCancelled           the awaited operation was cancelled
    ├── OutcomeTimeout               the outcome did not come in time (also a TimeoutError)
    ├── LimiterError
    │   ├── CostAboveLimit           the cost can never be granted
    │   └── PermitTimeout            the permit cannot be had before the deadline (also a TimeoutError)
    ├── WebhookRefused               a delivery is not from the provider, too old, or came before
    ├── StateConflict                a compare-and-set write met a newer revision
    └── ProviderError                one way for a call to a provider to fail
        ├── NotSent                  the request surely did not reach the provider
        │   ├── Untrusted            who answered could not prove to be the provider
        │   └── BlockedAddress       the host's address is one that must not be called
        ├── AnswerLost               sent, but no answer came: applied or not is unknown
        │   └── CallTimeout          our own total deadline passed
        ├── Throttled                the provider asks to slow down
        ├── Unavailable              the provider cannot serve now (503)
        ├── Unauthorised             the credentials were refused
        │   └── NeedsReauth              no new token can be had: somebody must give consent again
        ├── InvalidResponse          the answer could not be understood
        │   ├── ResponseTooLarge     the answer is larger than allowed
        │   └── PagingBroken         the pages of a listing do not lead to its end
        ├── CursorExpired            the provider no longer knows the cursor: list all records anew
        └── UnsafeRedirect           the provider redirected to another origin
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class RateSyncError(Exception):
    """The root of every error that ratesync raises."""


class ConfigurationError(RateSyncError):
    """The engine was put together wrongly: a plugin is missing, unknown or does not keep its protocol."""


class InvalidOperation(RateSyncError):
    """A submitted operation was refused; nothing of that submission was enqueued.

    ``path`` names the place, for example ``operations[3].fields.tags[0]``. The offending value is not part of
    the message, as it may be private.
    """

    def __init__(self, problem: str, *, path: str = "operation") -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class UnknownProvider(InvalidOperation):
    """No adapter of that name is registered with the engine."""


class UnsupportedOperation(InvalidOperation):
    """The adapter's capabilities say that it cannot carry out this operation."""


class InvalidPayload(InvalidOperation):
    """The fields cannot be sent as JSON, are nested too deeply or are too large."""


class EngineClosed(RateSyncError):
    """The engine is not running: it was not entered yet, or it was left."""


class ForkedProcess(RateSyncError):
    """The engine was started in the parent of this process. Start a new engine after a fork."""


class QueueError(RateSyncError):
    """A queue backend could not do what was asked."""


class QueueFull(QueueError):
    """There is no room for the operations; none of them was enqueued. Submit again later or raise the capacity."""

    def __init__(self, message: str, *, capacity: int) -> None:
        super().__init__(message)
        self.capacity = capacity


class DeadLettersFull(QueueFull):
    """Too many dead letters wait for a decision; none of the operations was enqueued. Replay or discard some."""


class EnqueueUncertain(QueueError):
    """The backend did not answer, so the operations may or may not be enqueued.

    Submitting again with the same ids is safe: an operation that is already there is not added twice.
    """

    def __init__(self, message: str, *, ids: Sequence[str]) -> None:
        super().__init__(message)
        self.ids = tuple(ids)


class CodecError(QueueError):
    """Stored bytes could not be turned back into a value."""


class CorruptItem(CodecError):
    """Stored bytes are damaged or were not written by ratesync."""


class NewerFormat(CodecError):
    """Stored bytes were written by a newer version of ratesync. Upgrade this worker."""


class OperationNotFound(RateSyncError):
    """No operation of that id is known: it was never accepted, or it finished longer ago than results are kept."""


class OperationCancelled(RateSyncError):
    """The awaited operation was cancelled before it was carried out."""


class OutcomeTimeout(RateSyncError, TimeoutError):
    """The outcome did not come within the timeout. The operation is still queued and will be carried out."""


class LimiterError(RateSyncError):
    """A limiter could not grant a permit."""


class CostAboveLimit(LimiterError):
    """The cost is above what the quota ever grants at once, so waiting would never end. Lower the cost."""


class PermitTimeout(LimiterError, TimeoutError):
    """The permit cannot be had before the deadline.

    ``retry_after`` is the known wait in seconds, or None where it depends on others giving permits back.
    """

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StateConflict(RateSyncError):
    """A compare-and-set write met a newer revision; nothing was written. Load again, decide again, write again."""

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


class WebhookRefused(RateSyncError):
    """A delivery to a webhook must not be acted on. Answer 401, or 200 for ``"replayed"``, and nothing more.

    ``fault`` is ``"headers"`` (missing or malformed), ``"signature"``, ``"timestamp"`` (too old, or of the future),
    ``"replayed"`` or ``"body"`` (too large, or not strict JSON). The message shows nothing of the delivery.
    """

    def __init__(self, message: str, *, fault: str) -> None:
        super().__init__(message)
        self.fault = fault


class ProviderError(RateSyncError):
    """One way for a call to a provider to fail. Adapters raise its subclasses; the engine turns them into outcomes."""


class NotSent(ProviderError):
    """The request surely did not reach the provider (no connection, no TLS), so it is safe to send it again."""


class Untrusted(NotSent):
    """Who answered could not prove to be the provider, so that no request was sent.

    Its certificate has expired, is another host's or of an authority unknown here, or the TLS handshake broke. Trying
    again at once does not help: the connection is left alone for ``RetryPolicy.untrusted_delay`` seconds.
    """


class BlockedAddress(NotSent):
    """The host has no address that may be called: it leads into the host's own network, or nowhere public."""


class AnswerLost(ProviderError):
    """The request was sent but the answer did not come back: whether it was applied is unknown."""


class CallTimeout(AnswerLost):
    """Our own total deadline for the call passed after the request was (or may have been) sent."""


class Throttled(ProviderError):
    """The provider asks to slow down (HTTP 429 or its like).

    ``retry_after`` is the wait the provider asked for in seconds, or None if it named none.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ProviderError):
    """The provider cannot serve now (HTTP 503): not applied. ``retry_after`` as in :class:`Throttled`."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unauthorised(ProviderError):
    """The provider refused the credentials. The connection is paused until the host renews them and resumes it."""


class NeedsReauth(Unauthorised):
    """The provider gives no new token: the refresh token was used, revoked or has run out, or the client is refused.

    ``code`` is the token endpoint's word for it, such as ``invalid_grant``. Nothing is lost: the connection's
    operations wait until somebody has authorised it again, the new tokens are stored, and it is resumed.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidResponse(ProviderError):
    """The provider's answer could not be understood (not JSON, not UTF-8, not what its status promises)."""


class ResponseTooLarge(InvalidResponse):
    """The provider's answer is larger than allowed, on the wire or decoded."""


class PagingBroken(InvalidResponse):
    """The pages of a listing do not lead to its end, or not past all of its records.

    ``fault`` says how: ``"position"`` a page names a position that was asked for before; ``"page"`` a page came twice;
    ``"endless"`` there are more pages than allowed; ``"shifted"`` records moved between two pages, so one may have been
    skipped: list anew; ``"key"`` the key is not unique, so the records that share one would be skipped; ``"short"`` the
    listing ended before the count that it named. ``page`` is the page's number, counted from 1.
    """

    def __init__(self, message: str, *, fault: str, page: int) -> None:
        super().__init__(message)
        self.fault = fault
        self.page = page


class CursorExpired(ProviderError):
    """The provider no longer knows what changed since the cursor (HTTP 410 and its like): list all records anew.

    What is missing from that listing may be deleted, or merely unseen: deletes that follow from it need care.
    """


class UnsafeRedirect(ProviderError):
    """The provider redirected to another origin; credentials and body were not sent there."""
