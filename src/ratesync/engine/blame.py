"""Which of several operations that were folded into one is to blame that it cannot be translated."""

from __future__ import annotations

from ratesync.codec import decode_operation
from ratesync.engine.execution import Executor
from ratesync.engine.work import Task
from ratesync.errors import CodecError
from ratesync.model.outcome import Rejected
from ratesync.model.work import LeasedItem


def find_culprits(task: Task, executor: Executor) -> list[tuple[LeasedItem, Rejected]]:
    """The operations of a task that cannot be translated by themselves either, with their reasons.

    Without them the rest can be carried out: a good change must not die for having waited beside a bad one. None are
    told where the task is one operation, or may have been sent as it is: then it is judged as a whole.
    """
    if len(task.items) == 1 or task.items[0].sent_as:
        return []
    found: list[tuple[LeasedItem, Rejected]] = []
    for item in task.items:
        try:
            (result,) = executor.transform([decode_operation(item.body, task.lease.lane, item.id)])
        except CodecError:
            return []
        if isinstance(result, Rejected):
            found.append((item, result))
    return found if len(found) < len(task.items) else []
