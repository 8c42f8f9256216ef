"""The conformance suite of queues: each sentence of :class:`ratesync.protocols.QueueBackend` as a test."""

from __future__ import annotations

from ratesync.testing.queue_bound_suite import QueueBoundSuite
from ratesync.testing.queue_cancellation_suite import QueueCancellationSuite
from ratesync.testing.queue_claim_suite import QueueClaimSuite
from ratesync.testing.queue_intake_suite import QueueIntakeSuite
from ratesync.testing.queue_lane_suite import QueueLaneSuite
from ratesync.testing.queue_lease_suite import QueueLeaseSuite
from ratesync.testing.queue_record_suite import QueueRecordSuite
from ratesync.testing.queue_settlement_suite import QueueSettlementSuite
from ratesync.testing.queue_wait_suite import QueueWaitSuite


class QueueSuite(
    QueueIntakeSuite,
    QueueClaimSuite,
    QueueSettlementSuite,
    QueueLeaseSuite,
    QueueLaneSuite,
    QueueBoundSuite,
    QueueWaitSuite,
    QueueRecordSuite,
    QueueCancellationSuite,
):
    """Subclass it and give a fixture ``queue_factory``: a function that makes a new, empty queue, not opened yet.

    ::

        class TestMyQueue(QueueSuite):
            @pytest.fixture
            def queue_factory(self, clock: Clock) -> Callable[..., MyQueue]:
                return functools.partial(MyQueue, clock=clock)

    It is called with these options, by keyword: ``capacity`` (pending operations), ``lease_seconds`` and
    ``priority_step`` (seconds) always; ``dead_letter_capacity``, ``result_capacity`` and ``result_seconds`` (finished
    operations that are remembered), ``mailbox_max`` (items of one mailbox in a lease) and ``claim_bytes`` (bytes of
    bodies in a claim) by the tests that are about them. Call ``pytest.skip`` for an option that the queue has not.

    In real time, make ``second`` shorter. In virtual time, override the fixture ``clock`` with the clock that the
    queues use, and ``anyio_backend`` (see :mod:`ratesync.testing.virtual_time`). The fixture ``advance``, an async
    function of seconds, says how time passes; the default is ``anyio.sleep``. It is needed where the queue's time is
    not that of the event loop.
    """
