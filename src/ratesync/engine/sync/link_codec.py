"""Links and marks as bytes for a state store: JSON in UTF-8 with a version number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from ratesync.errors import CorruptItem, InvalidPayload, NewerFormat
from ratesync.model.change_time import ChangeTime
from ratesync.model.conflict import Defer, FieldConflict, Loser, Resolution, SetValue, Take
from ratesync.model.difference import ABSENT, NOT_KNOWN, Side, View
from ratesync.model.intent import Creating, Decided, Deleting, Intent, Step
from ratesync.model.link import LinkEnd, LinkStatus, RecordLink
from ratesync.model.mark import Lack, Mark
from ratesync.model.open_conflict import OpenConflict

FORMAT = 1
"""Version of the format that is written. Versions up to it are read."""

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode
_ABSENT: list[Any] = []
"""A value stands in a list of its own, so that an empty list can stand for ``ABSENT``, and null for ``NOT_KNOWN``."""


def to_bytes(value: dict[str, Any]) -> bytes:
    """A JSON object as bytes, with the format's version.

    :raises InvalidPayload: a view holds what is not JSON.
    """
    try:
        return _encode({"v": FORMAT} | value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"cannot be written as JSON ({type(error).__name__})", path="view") from None


def from_bytes(data: bytes) -> dict[str, Any]:
    """The object that :func:`to_bytes` wrote.

    :raises CorruptItem: the bytes are damaged.
    :raises NewerFormat: they were written by a newer version.
    """
    try:
        value = json.loads(data)
        version = value.pop("v")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptItem(f"stored bytes are damaged or foreign ({type(error).__name__})") from None
    if type(version) is not int or version < 1:
        raise CorruptItem("stored bytes are damaged or foreign (no version)")
    if version > FORMAT:
        raise NewerFormat(f"stored bytes have format {version}, this ratesync reads up to {FORMAT}: upgrade it")
    return value  # type: ignore[no-any-return]  # an object, as it had a key


def digest(*values: Any) -> str:
    """A short fingerprint of values, which may be ``ABSENT`` or ``NOT_KNOWN``."""
    return blake2b(_encode([pack(value) for value in values]).encode(), digest_size=8).hexdigest()


def digest_of_patches(to_local: View, to_external: View) -> str:
    """A short fingerprint of what is written to both sides."""
    return digest(_pack_view(to_local), _pack_view(to_external))


def digest_of_view(view: View) -> str:
    """A short fingerprint of what a record holds.

    :raises InvalidPayload: the view holds what is not JSON.
    """
    return blake2b(to_bytes({"view": _pack_view(view)}), digest_size=8).hexdigest()


def pack(value: Any) -> Any:
    """A value in plain JSON, told from ``ABSENT`` and ``NOT_KNOWN``."""
    return _ABSENT if value is ABSENT else None if value is NOT_KNOWN else [value]


def unpack(packed: Any) -> Any:
    """The value that :func:`pack` wrote."""
    return NOT_KNOWN if packed is None else packed[0] if packed else ABSENT


def pack_resolution(resolution: Resolution) -> Any:
    """A resolution in plain JSON."""
    match resolution:
        case Take(side):
            return {"take": side}
        case SetValue(value):
            return {"set": pack(value)}
        case Defer(reason):
            return {"defer": reason}


def unpack_resolution(packed: Any) -> Resolution:
    """The resolution that :func:`pack_resolution` wrote."""
    match packed:
        case {"take": side}:
            return Take(Side(side))
        case {"set": value}:
            return SetValue(unpack(value))
        case _:
            return Defer(packed["defer"])


def encode_link(link: RecordLink) -> bytes:
    """The bytes of a link. Equal links have equal bytes.

    :raises InvalidPayload: a view holds what is not JSON.
    """
    value: dict[str, Any] = {"id": link.link_id, "l": _pack_end(link.local), "x": _pack_end(link.external)}
    if link.status is not LinkStatus.ACTIVE:
        value["s"] = link.status
    if link.intent is not None:
        value["i"] = _pack_intent(link.intent)
    if link.seen:
        value["seen"] = {side: _pack_end(end) for side, end in link.seen.items()}
    for name in _PLAIN:
        if part := getattr(link, name):
            value[name] = part
    return to_bytes(value)


_WRITE_PARTS = 3
_PLAIN = ("deferred", "resolved", "trouble", "gone_on", "hold_reason", "writes", "synced_at")


def decode_link(data: bytes) -> RecordLink:
    """The link that :func:`encode_link` wrote.

    :raises CorruptItem: the bytes are damaged.
    :raises NewerFormat: they were written by a newer version.
    """
    value = from_bytes(data)
    try:
        plain = {name: value[name] for name in _PLAIN if name in value}
        if "writes" in plain:
            # Those of an earlier layout do not tell the side, and are forgotten: they count for a while only.
            plain["writes"] = tuple(tuple(write) for write in plain["writes"] if len(write) == _WRITE_PARTS)
        if "gone_on" in plain:
            plain["gone_on"] = Side(plain["gone_on"])
        return RecordLink(
            value["id"],
            _unpack_end(value["l"]),
            _unpack_end(value["x"]),
            LinkStatus(value.get("s", LinkStatus.ACTIVE)),
            _unpack_intent(value["i"]) if "i" in value else None,
            seen={Side(side): _unpack_end(end) for side, end in value.get("seen", {}).items()},
            **plain,
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CorruptItem(f"a stored link is damaged ({type(error).__name__})") from None


def _pack_end(end: LinkEnd) -> Any:
    return [end.record_id, None if end.base is None else dict(end.base), end.version, *end.unconfirmed]


def _unpack_end(packed: Any) -> LinkEnd:
    record_id, base, version, *unconfirmed = packed
    return LinkEnd(record_id, base, version, tuple(unconfirmed))


def _pack_intent(intent: Intent) -> dict[str, Any]:
    step: dict[str, Any]
    head = [intent.op_id, intent.owner, intent.until, intent.started_at]
    match intent.step:
        case Decided(view, pre_local, pre_external, losers, as_external, as_local):
            step = {
                "view": _pack_view(view),
                "l": dict(pre_local),
                "x": dict(pre_external),
                "lost": pack_losers(losers),
                "as": None if as_external is None else _pack_view(as_external),
            }
            if as_local is not None:
                step["as_local"] = _pack_view(as_local)
        case Creating(side, view, record_id, source_version, over_at):
            step = {"create": side, "view": dict(view), "id": record_id, "of": source_version, "over": over_at}
        case Deleting(side, version, view, losers):
            step = {"delete": side, "view": dict(view), "of": version, "lost": pack_losers(losers)}
    return {"head": head, **step}


def _unpack_intent(packed: Any) -> Intent:
    step: Step
    if "create" in packed:
        step = Creating(Side(packed["create"]), packed["view"], packed["id"], packed["of"], packed["over"])
    elif "delete" in packed:
        step = Deleting(Side(packed["delete"]), packed["of"], packed["view"], unpack_losers(packed["lost"]))
    else:
        as_external = None if packed["as"] is None else _unpack_view(packed["as"])
        as_local = _unpack_view(packed["as_local"]) if "as_local" in packed else None
        lost = unpack_losers(packed["lost"])
        step = Decided(_unpack_view(packed["view"]), packed["l"], packed["x"], lost, as_external, as_local)
    op_id, owner, until, started_at = packed["head"]
    return Intent(op_id, owner, until, started_at, step)


def _pack_view(view: View) -> dict[str, Any]:
    return {name: pack(value) for name, value in view.items()}


def _unpack_view(packed: Mapping[str, Any]) -> dict[str, Any]:
    return {name: unpack(value) for name, value in packed.items()}


def pack_losers(losers: tuple[Loser, ...]) -> list[Any]:
    """Losers in plain JSON."""
    return [_pack_loser(loser) for loser in losers]


def _pack_loser(loser: Loser) -> list[Any]:
    packed = [loser.name, loser.side, pack(loser.value)]
    return packed if loser.winner is NOT_KNOWN else [*packed, pack(loser.winner)]


def unpack_losers(packed: Any) -> tuple[Loser, ...]:
    """The losers that :func:`pack_losers` wrote."""
    return tuple(Loser(name, Side(side), *map(unpack, values)) for name, side, *values in packed)


def encode_conflict(conflict: FieldConflict, link: RecordLink) -> bytes:
    """The bytes of an open conflict, and of which link's."""
    values = [conflict.base_local, conflict.base_external, conflict.local, conflict.external]
    ids = [link.local.record_id, link.external.record_id]
    value = {"n": conflict.name, "c": [pack(value) for value in values], "ids": ids, "link": link.link_id}
    for key, change in (("tl", conflict.local_change), ("tx", conflict.external_change)):
        if change is not None:
            value[key] = [change.record_at, change.field_at]
    return to_bytes(value)


def decode_conflict(data: bytes) -> OpenConflict:
    """The conflict that :func:`encode_conflict` wrote.

    :raises CorruptItem: the bytes are damaged.
    :raises NewerFormat: they were written by a newer version.
    """
    value = from_bytes(data)
    try:
        base_local, base_external, local, external = map(unpack, value["c"])
        local_id, external_id = value["ids"]
        times = [ChangeTime(*value[key]) if key in value else None for key in ("tl", "tx")]
        conflict = FieldConflict(value["n"], base_local, base_external, local, external, *times)
        return OpenConflict(value["link"], local_id, external_id, conflict)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptItem(f"a stored conflict is damaged ({type(error).__name__})") from None


def encode_mark(mark: Mark) -> bytes:
    """The bytes of a mark; side, record and revision are known by its place in the store."""
    value: dict[str, Any] = {}
    if mark.waits_for:
        value["w"] = mark.waits_for
    if mark.lacks:
        value["r"] = [[lack.name, lack.side, lack.record_id] for lack in mark.lacks]
    return to_bytes(value)


def waits_only(data: bytes) -> bool:
    """Whether a mark's bytes say what its record waits for, and so that nobody works on it."""
    return bool(from_bytes(data).get("r"))


def decode_mark(data: bytes, side: Side, record_id: str, revision: int) -> Mark:
    """The mark that :func:`encode_mark` wrote.

    :raises CorruptItem: the bytes are damaged.
    :raises NewerFormat: they were written by a newer version.
    """
    value = from_bytes(data)
    lacks = tuple(Lack(name, Side(of), other_id) for name, of, other_id in value.get("r", ()))
    return Mark(side, record_id, revision, tuple(value.get("w", ())), lacks)
