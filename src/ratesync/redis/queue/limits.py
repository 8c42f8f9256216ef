"""The settings of a queue."""

from __future__ import annotations

from attrs import Factory, field, frozen

from ratesync.redis.server.resp import Words


@frozen
class QueueLimits:
    """The settings of a queue; see :class:`~ratesync.redis.queue.queue.RedisQueue`."""

    capacity: int
    dead_letter_capacity: int
    result_capacity: int
    result_seconds: float
    lease_seconds: float
    mailbox_max: int
    claim_bytes: int
    priority_step: float
    for_enqueue: Words = field(
        init=False,
        eq=False,
        repr=False,
        default=Factory(
            lambda self: Words(
                self.capacity, self.dead_letter_capacity, self.result_seconds, self.result_capacity, self.priority_step
            ),
            takes_self=True,
        ),
    )
    """As an enqueue is told."""

    def of_shard(self, shards: int) -> QueueLimits:
        """The part of one shard."""
        return QueueLimits(
            capacity=-(-self.capacity // shards),
            dead_letter_capacity=-(-self.dead_letter_capacity // shards),
            result_capacity=-(-self.result_capacity // shards),
            result_seconds=self.result_seconds,
            lease_seconds=self.lease_seconds,
            mailbox_max=self.mailbox_max,
            claim_bytes=self.claim_bytes,
            priority_step=self.priority_step,
        )
