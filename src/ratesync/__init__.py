"""ratesync keeps an application's records and those of external APIs in step.

An engine accepts operations on records, and carries them out at the providers' APIs: in order for each record, as fast
as the quotas allow, retried where that is safe, and without losing one. See :class:`SyncEngine`.
"""

from __future__ import annotations

from ratesync.engine import SyncEngine, Ticket
from ratesync.errors import RateSyncError
from ratesync.model.batch import (
    Batch,
    Capabilities,
    ConditionalWrite,
    CreateIdentity,
    DeleteFeed,
    NullMeaning,
    Reply,
)
from ratesync.model.change import Change, ChangePage, RecordPage
from ratesync.model.feedback import Feedback, Reading, ThrottleCause
from ratesync.model.inquiry import Inquiry
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import Fields, Kind, Operation, OperationState
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.policy import CircuitPolicy, PayloadLimits, RetryPolicy
from ratesync.model.preview import Preview, PreviewedRequest, Problem
from ratesync.model.quota import (
    Adaptive,
    Budget,
    Concurrency,
    FixedWindow,
    LeakyBucket,
    Penalty,
    Period,
    Quota,
    QuotaScope,
    QuotaState,
    Rate,
)
from ratesync.model.record import Record
from ratesync.model.schema import DriftPolicy, RemoteField, RemoteSchema, SchemaWatch
from ratesync.model.secret import Secret
from ratesync.model.settings import Role, Settings
from ratesync.model.status import DeadLetter, OperationStatus
from ratesync.model.work import CancelResult, Durability, QueueStats
from ratesync.protocols import (
    Charges,
    DescribesResources,
    FindsRecords,
    Limiter,
    ListsRecords,
    LooksUp,
    NamesPaths,
    Observer,
    PreviewsRequests,
    ProviderClient,
    PullsChanges,
    QueueBackend,
    StateStore,
    Transformer,
)

__all__ = [
    "Adaptive",
    "Applied",
    "Batch",
    "Budget",
    "CancelResult",
    "Capabilities",
    "Cause",
    "Change",
    "ChangePage",
    "Charges",
    "CircuitPolicy",
    "Concurrency",
    "ConditionalWrite",
    "Conflict",
    "CreateIdentity",
    "DeadLetter",
    "DeleteFeed",
    "DescribesResources",
    "DriftPolicy",
    "Durability",
    "Feedback",
    "Fields",
    "FindsRecords",
    "FixedWindow",
    "Inquiry",
    "Kind",
    "Lane",
    "LeakyBucket",
    "Limiter",
    "ListsRecords",
    "LooksUp",
    "NamesPaths",
    "NullMeaning",
    "Observer",
    "Operation",
    "OperationState",
    "OperationStatus",
    "Outcome",
    "PayloadLimits",
    "Penalty",
    "Period",
    "Preview",
    "PreviewedRequest",
    "PreviewsRequests",
    "Problem",
    "ProviderClient",
    "PullsChanges",
    "QueueBackend",
    "QueueStats",
    "Quota",
    "QuotaScope",
    "QuotaState",
    "Rate",
    "RateSyncError",
    "Reading",
    "Record",
    "RecordPage",
    "Rejected",
    "RemoteField",
    "RemoteSchema",
    "Reply",
    "RetryLater",
    "RetryPolicy",
    "Role",
    "SchemaWatch",
    "Secret",
    "Selector",
    "Settings",
    "StateStore",
    "SyncEngine",
    "ThrottleCause",
    "Ticket",
    "Transformer",
    "Unknown",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("ratesync")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
