"""An observer that writes the events worth reading to the log, and counts the others.

    python -m examples.observe_with_logging

The provider is a fake that fails now and then, and the time is virtual, so a minute of trouble passes at once.
"""

from __future__ import annotations

import logging
from collections import Counter

import anyio

from ratesync import Operation, Rate, SyncEngine
from ratesync.memory import MemoryBackend
from ratesync.model.event import (
    BackendFailed,
    CallFinished,
    CircuitChanged,
    Event,
    LanePaused,
    LeaseRefused,
    LoopBlocked,
    OperationDied,
    Settled,
    SlowTransformer,
    UnexpectedResult,
)
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.faults import Faults
from ratesync.testing.virtual_time import EPOCH, VirtualClock, run_virtual

# --8<-- [start:observer]
log = logging.getLogger("sync")


class LoggingObserver:
    """Logs what somebody should know of; counts what a metric should show."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case CallFinished():
                self.counts["calls"] += 1
                self.counts["calls throttled"] += event.throttled
            case Settled():
                self.counts["completed"] += event.completed
                self.counts["retried"] += event.retried
                self.counts["dead"] += event.dead
            case CircuitChanged():
                log.warning("%s: circuit %s, was %s", event.lane, event.after, event.before)
            case OperationDied():
                log.error("%s: operation %s died: %s", event.lane, event.operation_id, event.reason)
            case LanePaused():
                log.error("%s: paused until you resume it: %s", event.lane, event.reason)
            case LoopBlocked():
                log.error("the event loop has been blocked for %.1f s at\n%s", event.blocked_for, event.stack)
            case SlowTransformer() | BackendFailed() | LeaseRefused() | UnexpectedResult():
                log.warning("%s", event)
            case _:
                self.counts[type(event).__name__] += 1


# --8<-- [end:observer]


async def sync() -> None:
    """Write three hundred contacts while the provider is away for twenty seconds and refuses one in fifty."""
    clock = VirtualClock()
    faults = Faults(outages=[(EPOCH + 5, EPOCH + 25)], rejected=0.02)
    observer = LoggingObserver()
    async with SyncEngine(
        backend=MemoryBackend(clock=clock),
        providers=[FakeProvider("acme", clock=clock, faults=faults)],
        quotas={"acme": [Rate(20, per=1)]},
        observers=[observer],
        clock=clock,
    ) as engine:
        for second in range(30):
            await engine.submit_many(
                Operation.upsert("acme", "contacts", f"{second}-{number}", {"n": number}) for number in range(10)
            )
            await anyio.sleep(1)
        await engine.drain()
    print({name: observer.counts[name] for name in sorted(observer.counts)})


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    run_virtual(sync)
