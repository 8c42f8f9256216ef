"""What the engine is composed of. Anything that keeps these contracts can be plugged in; nothing need be inherited.

Implementations are checked by the conformance suites of :mod:`ratesync.testing`.
"""

from __future__ import annotations

from ratesync.protocols.limiter import Limiter
from ratesync.protocols.observer import Observer
from ratesync.protocols.preview import PreviewsRequests, RecordsRequests
from ratesync.protocols.provider import (
    Charges,
    DescribesResources,
    FindsRecords,
    ListsRecords,
    LooksUp,
    ProviderClient,
    PullsChanges,
)
from ratesync.protocols.queue import QueueBackend
from ratesync.protocols.state import StateStore
from ratesync.protocols.transformer import ChecksFields, NamesPaths, Transformer

__all__ = [
    "Charges",
    "ChecksFields",
    "DescribesResources",
    "FindsRecords",
    "Limiter",
    "ListsRecords",
    "LooksUp",
    "NamesPaths",
    "Observer",
    "PreviewsRequests",
    "ProviderClient",
    "PullsChanges",
    "QueueBackend",
    "RecordsRequests",
    "StateStore",
    "Transformer",
]
