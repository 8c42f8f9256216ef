"""What an observer is told. Every event has ``at``, the instant in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from ratesync.model.lane import Lane
from ratesync.model.operation import Kind
from ratesync.model.schema import FieldDrift


class CircuitState(StrEnum):
    """Whether calls to a connection are let through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@frozen
class Submitted:
    """Operations were accepted by the queue (duplicates not counted)."""

    at: float
    lane: Lane
    count: int


@frozen
class CallFinished:
    """One call to a provider came back, or was given up."""

    at: float
    lane: Lane
    resource: str
    kind: Kind
    size: int
    """Operations in the call."""
    duration: float
    """Seconds from the permit to the classified answer."""
    outcomes: Mapping[str, int]
    """How many operations came to which outcome, by class name ("Applied", "RetryLater" ...)."""
    throttled: bool
    """The provider refused the call because of a quota."""


@frozen
class Settled:
    """Operations of one lane left or changed their place in the queue."""

    at: float
    lane: Lane
    completed: int
    retried: int
    dead: int


@frozen
class LaneParked:
    """A lane is left alone until an instant."""

    at: float
    lane: Lane
    until: float
    reason: str
    """"quota", "throttled", "circuit", "limiter" (it failed) or "untrusted"."""
    detail: str = ""
    """What is wrong, where somebody should look at it: for "untrusted", what TLS said."""


@frozen
class LanePaused:
    """The engine paused a lane by itself; the host must resume it."""

    at: float
    lane: Lane
    reason: str


@frozen
class CircuitChanged:
    """A circuit moved."""

    at: float
    lane: Lane
    before: CircuitState
    after: CircuitState


@frozen
class OperationDied:
    """An operation became a dead letter."""

    at: float
    lane: Lane
    operation_id: str
    reason: str


@frozen
class LeaseRefused:
    """A settlement or a sign of life came too late: the lease had ended, somebody else may be working on the record.

    A call under way that had no other lease was broken off.
    """

    at: float
    lane: Lane
    key: str


@frozen
class UnexpectedResult:
    """An adapter answered for operations that were not in the call; those results were ignored."""

    at: float
    lane: Lane
    ids: tuple[str, ...]


@frozen
class LoopBlocked:
    """The event loop did not turn for a while: some code of the host's blocks it."""

    at: float
    blocked_for: float
    """Seconds so far."""
    stack: str
    """Where the blocking thread stood (file, line and function names, no values)."""


@frozen
class SlowTransformer:
    """One transformation took longer than allowed; it ran on the event loop and held everything up."""

    at: float
    lane: Lane
    resource: str
    duration: float


@frozen
class BackendFailed:
    """The queue or the limiter failed; the engine tries again after ``retry_after`` seconds."""

    at: float
    reason: str
    retry_after: float


@frozen
class SchemaDrifted:
    """A provider changed the schema of a resource, or a record has a value that its schema does not name.

    Reported when it is noticed, by each worker.
    """

    at: float
    lane: Lane
    resource: str
    drift: tuple[FieldDrift, ...]
    """The fields that changed, with the names of choices; no record's values."""
    stops: bool = False
    """The resource's operations wait until the schema is accepted (:meth:`ratesync.SyncEngine.accept_schema`)."""
    left_out: frozenset[str] = frozenset()
    """Paths that are neither read nor written until then."""


@frozen
class SchemaUnread:
    """The schema of a resource could not be read; the last one holds until it can."""

    at: float
    lane: Lane
    resource: str
    reason: str


@frozen
class SyncProgressed:
    """A full resync, or a pass that lists a side from its beginning, has come a page or a chunk of marks further."""

    at: float
    lane: Lane
    resource: str
    run_id: str
    phase: str
    """"pull" (it lists), "reconcile" or "delete"."""
    pages: int
    records: int
    """Records that were listed."""
    marks_left: int | None
    """Of a resync: marks that are still to be gone through; None while it lists."""


@frozen
class SyncFinished:
    """A pass over a binding ended, well or not. Passes that found nothing to do are told, too."""

    at: float
    lane: Lane
    resource: str
    run_id: str
    kind: str
    """"changes", "marks" (woken by a hint) or "resync"."""
    duration: float
    actions: Mapping[str, int]
    """How many records came to which action."""
    left: int
    """Records that are left for a later pass."""
    held: int
    """Deletes that wait for approval."""
    conflicts: int
    """Conflicts that were opened."""
    errors: tuple[str, ...] = ()
    """What failed as a whole: types of errors."""


@frozen
class SyncPutOff:
    """A sync that runs on and on leaves its binding alone for a while."""

    at: float
    lane: Lane
    resource: str
    until: float
    reason: str
    """"paused", or what failed."""


@frozen
class WebhookTaken:
    """A delivery to a webhook was from the provider, and was acted on."""

    at: float
    provider: str
    marked: int
    """Records to be looked at."""
    unknown: int
    """Records of accounts or resources that nobody syncs."""


Event = (
    Submitted
    | CallFinished
    | Settled
    | LaneParked
    | LanePaused
    | CircuitChanged
    | OperationDied
    | LeaseRefused
    | UnexpectedResult
    | LoopBlocked
    | SlowTransformer
    | BackendFailed
    | SchemaDrifted
    | SchemaUnread
    | SyncProgressed
    | SyncFinished
    | SyncPutOff
    | WebhookTaken
)
