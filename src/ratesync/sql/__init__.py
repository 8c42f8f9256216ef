"""The host's own tables as a side of a sync, with an outbox that misses no change. Needs the extra ``sqlalchemy``."""

from __future__ import annotations

from ratesync.sql.debezium import read_debezium
from ratesync.sql.outbox import Outbox
from ratesync.sql.records import SqlRecords

__all__ = ["Outbox", "SqlRecords", "read_debezium"]
