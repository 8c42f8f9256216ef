"""Records of passes as bytes for a state store."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ratesync.engine.sync.link_codec import from_bytes, to_bytes
from ratesync.errors import CorruptItem
from ratesync.model.difference import Side
from ratesync.model.run import RecordTrouble, RunKind, RunPhase, SyncRun

_PLAIN = (
    *("finished_at", "left", "held", "hold_reason", "errors", "number", "updated_at", "is_stopped", "is_resumed"),
    *("pages", "records", "missing", "marks_left", "conflicts", "dropped", "idle_before", "retry_after"),
)
"""Parts that are JSON as they are."""
_COUNTS = ("actions", "situations", "reasons")
_OPTIONAL = {"finished_at", "marks_left", "retry_after"}
"""Of those: may be None, so that nothing and 0 are two values."""


def encode_run(run: SyncRun) -> bytes:
    """The bytes of a run."""
    value: dict[str, Any] = {"id": run.run_id, "at": run.started_at, "kind": run.kind, "phase": run.phase}
    value |= {name: part for name in _PLAIN if (part := getattr(run, name)) or (part is not None and name in _OPTIONAL)}
    value |= {name: dict(part) for name in _COUNTS if (part := getattr(run, name))}
    if run.samples:
        value["samples"] = run.samples
    if run.cursors:
        value["cursors"] = {side: list(ends) for side, ends in run.cursors.items()}
    if run.troubles:
        value["troubles"] = [[each.side, each.record_id, each.reason] for each in run.troubles]
    return to_bytes(value)


def decode_run(data: bytes) -> SyncRun:
    """The run that :func:`encode_run` wrote.

    :raises CorruptItem: the bytes are damaged.
    :raises NewerFormat: they were written by a newer version.
    """
    value = from_bytes(data)
    try:
        return SyncRun(
            value["id"],
            value["at"],
            samples=dict(value.get("samples", {})),
            actions=Counter(value.get("actions", {})),
            situations=Counter(value.get("situations", {})),
            reasons=Counter(value.get("reasons", {})),
            kind=RunKind(value["kind"]),
            phase=RunPhase(value["phase"]),
            cursors={Side(side): (before, after) for side, (before, after) in value.get("cursors", {}).items()},
            troubles=[RecordTrouble(Side(side), *rest) for side, *rest in value.get("troubles", ())],
            **{name: value[name] for name in _PLAIN if name in value},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptItem(f"a stored run is damaged ({type(error).__name__})") from None
