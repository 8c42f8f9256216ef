"""Two-way sync: what a host names to have two sides kept alike. See ``SyncEngine.sync`` and ``SyncEngine.syncs``."""

from __future__ import annotations

from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.desk import SyncDesk
from ratesync.engine.sync.provider_records import ProviderRecords
from ratesync.engine.sync.webhook import WebhookEndpoint
from ratesync.model.conflict import Defer, FieldConflict, Loser, Resolution, SetValue, Take
from ratesync.model.difference import ABSENT, Side, View
from ratesync.model.direction import Direction
from ratesync.model.hint import Hint, WebhookAnswer
from ratesync.model.open_conflict import Dropped, OpenConflict
from ratesync.model.reference import Reference
from ratesync.model.run import RecordTrouble, RunKind, RunPhase, SyncRun
from ratesync.model.sync_settings import SyncSettings
from ratesync.model.undone import Undone, UndoResult
from ratesync.protocols.lens import Lens
from ratesync.protocols.local import LocalStore
from ratesync.protocols.webhook import ReadsHints, VerifiesDeliveries
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.first_match import Situation
from ratesync.rules.merge import Resolve
from ratesync.rules.reconcile import GoneMode, GonePolicy
from ratesync.rules.resolvers import concat, first_of, latest, manual, per_field, prefer, sum_delta, union
from ratesync.rules.situations import Policy, Response

__all__ = [
    "ABSENT",
    "Binding",
    "Case",
    "Defer",
    "DeletePolicy",
    "Direction",
    "Dropped",
    "FieldConflict",
    "GoneMode",
    "GonePolicy",
    "Hint",
    "Lens",
    "LocalStore",
    "Loser",
    "OpenConflict",
    "Policy",
    "ProviderRecords",
    "ReadsHints",
    "RecordTrouble",
    "Reference",
    "Resolution",
    "Resolve",
    "Response",
    "RunKind",
    "RunPhase",
    "SetValue",
    "Side",
    "Situation",
    "SyncDesk",
    "SyncRun",
    "SyncSettings",
    "Take",
    "UndoResult",
    "Undone",
    "VerifiesDeliveries",
    "View",
    "WebhookAnswer",
    "WebhookEndpoint",
    "concat",
    "first_of",
    "latest",
    "manual",
    "per_field",
    "prefer",
    "sum_delta",
    "union",
]
