"""What can go wrong with virtual time itself, and how it is reported."""

from __future__ import annotations

from collections.abc import Iterable

from ratesync.errors import RateSyncError

EVENT_LOOPS = ("anyio", "asyncio", "trio")
"""Packages in whose code every task waits, so that naming a place in them would tell nothing."""


class VirtualTimeError(RateSyncError):
    """Virtual time cannot serve what the program does, for example wait for a real socket."""


class Deadlock(VirtualTimeError):
    """Nothing can run, no timer is set and no worker thread is busy: the program would wait for ever.

    ``waiting`` has one line for each task: its name and the place where it waits.
    """

    def __init__(self, waiting: Iterable[str]) -> None:
        self.waiting = tuple(waiting)
        tasks = "\n".join(f"  {line}" for line in self.waiting)
        super().__init__(f"Nothing can run and no timer is set, so these tasks wait for ever:\n{tasks}")


def waiting_line(name: str, coroutine: object) -> str:
    """The task's name and the innermost place in the program's own code where its coroutine waits."""
    place = ""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None and (not place or frame.f_globals.get("__name__", "").split(".")[0] not in EVENT_LOOPS):
            place = f" at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return f"{name} waits{place}"
