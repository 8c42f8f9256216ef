"""What the conformance suite of queues does with a queue, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import (
    Claim,
    ClaimRequest,
    Enqueued,
    Entry,
    Finished,
    Item,
    Lease,
    LeasedItem,
    QueueStats,
    Settlement,
)
from ratesync.protocols import QueueBackend

ADA = Lane("acme", "ada")
BOB = Lane("acme", "bob")
ELSEWHERE = Lane("elsewhere", "ada")
EVERYTHING = Selector()


def item(
    name: str,
    key: str | None = None,
    *,
    lane: Lane = ADA,
    body: bytes | None = None,
    priority: int = 0,
    not_before: float | None = None,
    dedupe: str | None = None,
) -> Item:
    """An item whose id is ``name``. Its key and its body say the same if they are not given."""
    return Item(
        id=name,
        lane=lane,
        key=name if key is None else key,
        body=name.encode() if body is None else body,
        priority=priority,
        not_before=not_before,
        dedupe=dedupe,
    )


def items(names: str, key: str | None = None, *, lane: Lane = ADA) -> list[Item]:
    """An item for each word of ``names``; all of one key if one is given."""
    return [item(name, key, lane=lane) for name in names.split()]


async def submit(queue: QueueBackend, *new: Item) -> Sequence[Enqueued]:
    """Enqueue, without waiting for room."""
    return await queue.enqueue(new)


async def claim(
    queue: QueueBackend,
    worker: str = "worker",
    *,
    calls: int = 100,
    size: int = 100,
    providers: Sequence[str] = ("acme",),
) -> Claim:
    """Claim at most ``calls`` batches of at most ``size`` mailboxes of each provider."""
    return await queue.claim(ClaimRequest(worker, calls, dict.fromkeys(providers, size)))


async def take(queue: QueueBackend, worker: str = "worker", *, calls: int = 100, size: int = 100) -> list[Lease]:
    """Claim, whatever the batches."""
    return leases(await claim(queue, worker, calls=calls, size=size))


async def take_one(queue: QueueBackend, worker: str = "worker") -> Lease:
    """Claim one mailbox, which must be there."""
    taken = await take(queue, worker, calls=1, size=1)
    assert len(taken) == 1, "there is nothing to claim"
    return taken[0]


def leases(claimed: Claim) -> list[Lease]:
    """All leases of a claim, in the order of the batches."""
    return [lease for batch in claimed.batches for lease in batch]


def names(what: Claim | Sequence[Lease] | Lease) -> str:
    """The ids of all items, in order."""
    if isinstance(what, Claim):
        what = leases(what)
    elif isinstance(what, Lease):
        what = [what]
    return " ".join(leased.id for lease in what for leased in lease.items)


def only(lease: Lease) -> LeasedItem:
    """The one item of a lease."""
    assert len(lease.items) == 1
    return lease.items[0]


def ended(
    lease: Lease, state: OperationState = OperationState.COMPLETED, *, only_ids: str = "", result: bytes = b"done"
) -> Settlement:
    """Settle: these items of the lease (default: all) end in ``state``."""
    ids = only_ids.split() or [leased.id for leased in lease.items]
    return Settlement(lease, finished=tuple(Finished(name, state, result) for name in ids))


def attempted(lease: Lease, *, counted: bool = True, resume_at: float | None = None) -> Settlement:
    """Settle: every item of the lease was attempted and is to be attempted again."""
    ids = tuple(leased.id for leased in lease.items)
    return Settlement(lease, attempted=ids, counted=counted, resume_at=resume_at)


async def settle(queue: QueueBackend, settlement: Settlement, worker: str = "worker") -> bool:
    """Settle one lease."""
    (accepted,) = await queue.settle(worker, [settlement])
    return accepted


async def complete(queue: QueueBackend, taken: Sequence[Lease], worker: str = "worker") -> None:
    """Complete everything that was leased."""
    answers = await queue.settle(worker, [ended(lease) for lease in taken])
    assert all(answers), "a lease in force was refused"


async def release(queue: QueueBackend, taken: Sequence[Lease], worker: str = "worker") -> None:
    """Give everything back as it was."""
    answers = await queue.settle(worker, [Settlement(lease) for lease in taken])
    assert all(answers), "a lease in force was refused"


async def bury(queue: QueueBackend, *dying: Item) -> list[Lease]:
    """Make dead letters of new items, one after the other; the leases under which they died.

    Nothing else may be claimable.
    """
    buried: list[Lease] = []
    for one in dying:
        await submit(queue, one)
        (lease,) = leases(await claim(queue, providers=[one.lane.provider]))
        assert await settle(queue, ended(lease, OperationState.DEAD, result=b"poison"))
        buried.append(lease)
    return buried


async def entry(queue: QueueBackend, name: str) -> Entry:
    """The entry of an operation that is known."""
    (found,) = await queue.get([name])
    assert found is not None, f"{name} is not known"
    return found


async def state(queue: QueueBackend, name: str) -> OperationState:
    """The state of an operation that is known."""
    return (await entry(queue, name)).state


async def is_known(queue: QueueBackend, name: str) -> bool:
    """Whether the queue knows an operation of that id."""
    return (await queue.get([name]))[0] is not None


async def count(queue: QueueBackend, selector: Selector = EVERYTHING) -> QueueStats:
    """The stats of the selected lanes."""
    return await queue.stats(selector)
