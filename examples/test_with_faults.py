"""How an application that uses ratesync is tested: a fake provider, faults by chance, and virtual time.

    python -m examples.test_with_faults     # prints counts
    pytest examples/test_with_faults.py     # the same, as tests

The code under test is ``import_customers``. Nothing in it knows that it is tested.
"""

from __future__ import annotations

import random

import pytest

from ratesync import Operation, Rate, SyncEngine
from ratesync.memory import MemoryBackend
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.faults import Faults
from ratesync.testing.virtual_time import EPOCH, VirtualClock, run_virtual

CUSTOMERS = {str(number): {"email": f"{number}@example.org"} for number in range(1000)}


async def import_customers(engine: SyncEngine) -> int:
    """The code under test: bring all customers to the provider; how many were refused."""
    await engine.submit_many(
        Operation.create("acme", "contacts", fields, record_id=record_id) for record_id, fields in CUSTOMERS.items()
    )
    await engine.drain()
    return len(await engine.dead_letters(limit=len(CUSTOMERS)))


SITUATIONS = {
    "all is well": Faults(),
    "one call in ten is throttled": Faults(throttled=0.1),
    "one answer in ten is lost": Faults(lost_answer=0.1),
    "two minutes of outage": Faults(outages=[(EPOCH + 1, EPOCH + 121)]),
    "everything at once": Faults(throttled=0.1, unavailable=0.1, not_sent=0.1, lost_answer=0.1, hang=0.02, crash=0.05),
}


async def run_import(faults: Faults, seed: int) -> tuple[FakeProvider, float, int]:
    """The provider after an import under these faults, the seconds it took, and how many were refused."""
    clock = VirtualClock()
    provider = FakeProvider("acme", clock=clock, random=random.Random(seed), faults=faults)
    async with SyncEngine(
        backend=MemoryBackend(clock=clock),
        providers=[provider],
        quotas={"acme": [Rate(20, per=1)]},
        clock=clock,
        random=random.Random(seed),
    ) as engine:
        started_at = clock.now()
        refused = await import_customers(engine)
        return provider, clock.now() - started_at, refused


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_every_customer_arrives_once(situation: str, seed: int) -> None:
    """Whatever happens, each customer is there, was created once, and nothing is refused."""
    provider, _, refused = run_virtual(run_import, SITUATIONS[situation], seed)
    assert {record_id: dict(record.fields) for (_, _, record_id), record in provider.records.items()} == CUSTOMERS
    assert len(provider.writes) == len(CUSTOMERS)
    assert refused == 0


def main() -> None:
    """Run each situation once and print what happened."""
    for situation, faults in SITUATIONS.items():
        provider, took, refused = run_virtual(run_import, faults, 0)
        happened = ", ".join(f"{count} {fault}" for fault, count in sorted(provider.happened.items())) or "no faults"
        print(f"{situation} ({happened})")
        print(f"    {len(provider.records)} customers, {provider.calls} calls, {took:.0f} virtual s, {refused} refused")


if __name__ == "__main__":
    main()
