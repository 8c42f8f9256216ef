"""The engine: wiring and I/O around the decisions of :mod:`ratesync.rules`."""

from __future__ import annotations

from ratesync.engine.engine import SyncEngine
from ratesync.engine.ticket import Ticket

__all__ = ["SyncEngine", "Ticket"]
