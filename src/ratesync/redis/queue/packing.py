"""Items, leases and entries as bytes: what the scripts of the queue take and give. See ``scripts/queue/box.lua``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct

from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import Entry, Item, Lease, LeasedItem, Settlement
from ratesync.redis.server.resp import Argument, Words

HEAD, PAST, TAIL, BODY = Struct("<BI6xdd"), Struct("<IIdd"), Struct("<hHH"), Struct("<I")
WHOLE_HEAD = Struct("<BI6xddhHH")
"""Head and tail of a record without a past, up to its key."""
HAS_PAST, HAS_RESULT = 8, 16
STATES = (
    OperationState.SCHEDULED,
    OperationState.AVAILABLE,
    OperationState.LEASED,
    OperationState.RETRYABLE,
    OperationState.COMPLETED,
    OperationState.DEAD,
    OperationState.CANCELLED,
)
"""By the numbers under which they are stored."""
NUMBERS = {state: str(number) for number, state in enumerate(STATES)}
COMPLETED, DEAD, CANCELLED = 4, 5, 6

_HEX = re.compile(r"[0-9a-f]{32}").fullmatch
_IS_HEX = b"h"
_IS_TEXT = b"t"


def packed_id(name: str) -> bytes:
    """An id as it is stored: our own ids, which are hexadecimal numbers, take half the room."""
    return _IS_HEX + bytes.fromhex(name) if _HEX(name) else _IS_TEXT + name.encode()


def unpacked_id(stored: bytes) -> str:
    """The id again."""
    return stored[1:].hex() if stored[:1] == _IS_HEX else stored[1:].decode()


def tail(item: Item) -> bytes:
    """What comes behind the numbers of a record."""
    key = item.key.encode()
    if item.dedupe is None:
        return TAIL.pack(item.priority, len(key), 0) + key + item.body
    dedupe = item.dedupe.encode()
    return TAIL.pack(item.priority, len(key), len(dedupe) + 1) + key + dedupe + item.body


Kind = tuple[Lane, float | None, float]
"""Lane, first instant and priority of items."""
Run = tuple[Kind, list[bytes]]
"""Items of one kind: for each its id and the tail of its record."""


def runs(items: Sequence[Item]) -> list[Run]:
    """Items as they are told, those of one kind in a run."""
    found: list[Run] = []
    for item in items:
        kind = item.lane, item.not_before, item.priority
        if not found or found[-1][0] != kind:
            found.append((kind, []))
        found[-1][1].extend((packed_id(item.id), tail(item)))
    return found


def enqueued(told: Sequence[Run]) -> list[Argument]:
    """Runs as arguments; those of one kind that come one after the other are one."""
    args: list[Argument] = []
    at = 0
    while at < len(told):
        kind = told[at][0]
        end = at + 1
        while end < len(told) and told[end][0] == kind:
            end += 1
        same = [own for _, own in told[at:end]]
        args += (_usual_kind(kind) if kind[1] is None else _kind(kind), sum(map(len, same)) // 2)
        for own in same:
            args += own
        at = end
    return args


def _kind(kind: Kind) -> Words:
    (provider, connection), not_before, priority = kind
    return Words(provider, connection, "" if not_before is None else float(not_before), float(priority))


_usual_kind = lru_cache(maxsize=1024)(_kind)


def leases(batch: Sequence[bytes]) -> tuple[Lease, ...]:
    """A batch that a claim gave."""
    lane = Lane(_provider(batch[0]), batch[1].decode())
    token = int(float(batch[2]))
    at = 4
    found: list[Lease] = []
    items: tuple[LeasedItem, ...]
    for count in map(int, batch[3].split(b",")):
        key, first = _leased(batch[at], batch[at + 1])
        items = (first,)
        if count > 1:
            items += tuple(_leased(batch[place], batch[place + 1])[1] for place in range(at + 2, at + 2 * count, 2))
        found.append(Lease(lane, key, token, items))
        at += 2 * count
        token += 1
    return tuple(found)


@lru_cache(maxsize=64)
def _provider(name: bytes) -> str:
    """Its name as one text for all lanes, which are remembered."""
    return name.decode()


def _leased(name: bytes, record: bytes) -> tuple[str, LeasedItem]:
    flags, _, _, accepted, _, key_length, dedupe_length = WHOLE_HEAD.unpack_from(record)
    at = WHOLE_HEAD.size
    attempts = lapses = 0
    sent_as = 0.0
    if flags & HAS_PAST:
        attempts, lapses, sent_as, _ = PAST.unpack_from(record, HEAD.size)
        at = HEAD.size + PAST.size
        _, key_length, dedupe_length = TAIL.unpack_from(record, at)
        at += TAIL.size
    body = at + key_length + (dedupe_length - 1 if dedupe_length else 0)
    return record[at : at + key_length].decode(), LeasedItem(
        unpacked_id(name), record[body:], attempts, int(sent_as), lapses, accepted
    )


def entry(name: str, provider: bytes, connection: bytes, record: bytes, *, is_leased: bool = False) -> Entry:
    """What the host may know of an operation."""
    flags: int
    flags, _, _, accepted = HEAD.unpack_from(record)
    at = HEAD.size
    attempts, instant = 0, math.inf
    if flags & HAS_PAST:
        attempts, _, _, instant = PAST.unpack_from(record, at)
        at += PAST.size
    _, key_length, dedupe_length = TAIL.unpack_from(record, at)
    at += TAIL.size
    key = record[at : at + key_length].decode()
    body, result = _contents(flags, record[at + key_length + (dedupe_length - 1 if dedupe_length else 0) :])
    state = OperationState.LEASED if is_leased else STATES[flags & 7]
    known_at = None if math.isinf(instant) or is_leased else instant
    is_finished = flags & 7 >= COMPLETED
    return Entry(
        id=name,
        lane=Lane(provider.decode(), connection.decode()),
        key=key,
        state=state,
        attempts=attempts,
        enqueued_at=accepted,
        due_at=None if is_finished else known_at,
        finished_at=known_at if is_finished else None,
        body=body,
        result=result,
    )


def _contents(flags: int, rest: bytes) -> tuple[bytes | None, bytes | None]:
    """Body and result."""
    if flags & 7 < COMPLETED:
        return rest, None
    if flags & 7 != DEAD:
        return None, rest if flags & HAS_RESULT else None
    (length,) = BODY.unpack_from(rest)
    end = BODY.size + length
    return rest[BODY.size : end], rest[end:] if flags & HAS_RESULT else None


def settled(settlements: Sequence[Settlement], server_instant: Callable[[float], float]) -> list[Argument]:
    """Settlements as arguments, those of one lane in a run."""
    args: list[Argument] = []
    at = 0
    while at < len(settlements):
        lane = settlements[at].lease.lane
        end = at + 1
        while end < len(settlements) and settlements[end].lease.lane == lane:
            end += 1
        args += (*lane, end - at)
        for settlement in settlements[at:end]:
            _settle(args, settlement, server_instant)
        at = end
    return args


def _settle(args: list[Argument], settlement: Settlement, server_instant: Callable[[float], float]) -> None:
    lease, finished, attempted, counted, sent, unsent, resume_at = settlement
    if len(finished) == 1 and not attempted and not unsent and resume_at is None:
        name, state, result = finished[0]
        if state is not OperationState.DEAD:
            args += (lease.token, lease.key, NUMBERS[state], packed_id(name), result)
            return
    kind = f"g{'c' * counted}{'s' * sent}{len(finished)},{len(attempted)},{len(unsent)}"
    args += (lease.token, lease.key, kind, "" if resume_at is None else server_instant(resume_at))
    for name, state, result in finished:
        args += (packed_id(name), NUMBERS[state], result)
    args += map(packed_id, attempted)
    args += map(packed_id, unsent)


def marked(name: str | None) -> str:
    """One part of a selector."""
    return "-" if name is None else f"={name}"


def packed_selector(selector: Selector) -> bytes:
    """A selector as it is stored."""
    first, second = (marked(name).encode() for name in selector)
    return len(first).to_bytes(4, "big") + first + second


def unpacked_selector(stored: bytes) -> Selector:
    """The selector again."""
    end = 4 + int.from_bytes(stored[:4], "big")
    first, second = stored[4:end].decode(), stored[end:].decode()
    return Selector(None if first == "-" else first[1:], None if second == "-" else second[1:])
