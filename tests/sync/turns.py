"""Tasks that take turns by the draw of a random number, without an event loop: fast, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Generator, Sequence
from types import coroutine
from typing import Any

Task = Coroutine[Any, Any, None]


@coroutine
def others() -> Generator[None]:
    """Let others have a turn."""
    yield


def take_turns(draw: random.Random, tasks: Sequence[Task], background: Sequence[Task] = ()) -> None:
    """Run tasks to their end; those of the background end with them.

    They may wait for nothing but a turn: no sleep, no lock, no task group.
    """
    alive, running = list(tasks), [*tasks, *background]
    try:
        while alive:
            task = running[int(draw.random() * len(running))] if len(running) > 1 else alive[0]
            try:
                waits_for = task.send(None)
            except StopIteration:
                alive.remove(task)
                running.remove(task)
                continue
            if waits_for is not None:
                raise TypeError(f"a task that takes turns waits for {waits_for!r}")
    finally:
        for task in running:
            task.close()
