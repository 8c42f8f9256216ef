"""One account of the CRM: its quota, its records, what it was asked and what it answered. No I/O; `now` is given."""

from __future__ import annotations

import json
import random
from array import array
from collections import Counter
from collections.abc import Callable
from typing import Literal

from attrs import frozen

from .crm_options import CrmAccount, CrmOptions
from .crm_quota import SlidingWindows
from .crm_store import Answer, JsonValue, RecordStore, Write

Mishap = Literal["before", "after"] | None

SERVER_ERROR = Answer(status=500, error="internal_error")


class Mishaps:
    """The seeded draws of what goes wrong, and of how long a request takes."""

    def __init__(self, options: CrmOptions) -> None:
        self._options = options
        self._random = random.Random(options.seed)

    def draw(self) -> Mishap:
        """Nothing, or a 500 before the write is applied, or (as often) a 500 although it was applied."""
        drawn = self._random.random()
        if drawn >= self._options.error_rate:
            return None
        return "before" if drawn < self._options.error_rate / 2 else "after"

    def latency(self) -> float:
        """Seconds from arrival to effect."""
        return self._random.uniform(*self._options.latency)


@frozen
class Replay:
    """An answer kept under an idempotency key, with the request it belongs to."""

    request: bytes
    answer: Answer


class AccountDesk:
    """Answers the requests of one account and counts everything."""

    def __init__(self, account: CrmAccount, options: CrmOptions, mishaps: Mishaps) -> None:
        self.account = account
        self.store = RecordStore()
        self.counts: Counter[str] = Counter()
        self.accepted_at: array[float] = array("d")
        self._windows = SlidingWindows(account.windows, count_refused=options.count_refused)
        self._mishaps = mishaps
        self._replays: dict[str, Replay] = {}
        self._ids_given = 0

    def arrive(self, now: float) -> float:
        """Count one request. Returns 0.0 when the quota has room for it, else the seconds until it would."""
        self.counts["requests"] += 1
        wait = self._windows.arrive(now)
        if wait > 0.0:
            self.counts["refused"] += 1
        else:
            self.counts["accepted"] += 1
            self.accepted_at.append(now)
        return wait

    def next_id(self) -> str:
        """A record id of the CRM's own, for creates that bring none."""
        self._ids_given += 1
        return f"crm-{self._ids_given}"

    def read(self, resource: str, record_id: str) -> Answer:
        """Read one record."""
        return self._answer(lambda _: self.store.read(resource, record_id))

    def write(self, write: Write, request: bytes = b"") -> Answer:
        """Apply one write. With a `request`, a second call with the same key repeats the first answer."""
        return self._answer(lambda mishap: self._apply(write, mishap), write.key if request else None, request)

    def write_many(self, writes: list[Write], key: str | None = None, request: bytes = b"") -> Answer:
        """Apply the rows of a batch one by one; its answer has one result per row, in order.

        A server error may strike the whole batch, or any of its rows.
        """

        def apply_rows(mishap: Mishap) -> Answer:
            rows = [self._apply(write, mishap) if mishap else self.write(write) for write in writes]
            results = [_result(write, answer) for write, answer in zip(writes, rows, strict=True)]
            return Answer(status=200, body=json.dumps({"results": results}, ensure_ascii=False).encode())

        return self._answer(apply_rows, key, request)

    def statistics(self) -> dict[str, JsonValue]:
        """All counts so far, and for each window the most requests it ever held, accepted and in all."""
        windows: list[JsonValue] = [
            {
                "permits": log.window.permits,
                "per": log.window.per,
                "peak_accepted": log.peak_accepted,
                "peak_arrived": log.peak_arrived,
            }
            for log in self._windows.logs
        ]
        return {**self.counts, "applied": len(self.store.applications), "windows": windows}

    def _apply(self, write: Write, mishap: Mishap) -> Answer:
        return self.store.apply(write, answered=SERVER_ERROR.status if mishap else None)

    def _answer(self, perform: Callable[[Mishap], Answer], key: str | None = None, request: bytes = b"") -> Answer:
        """Answer truly, unless a mishap strikes. What was done under a key is kept, also when its answer got lost."""
        kept = self._replays.get(key) if key is not None else None
        if kept is not None:
            self.counts["replayed"] += 1
            return kept.answer if kept.request == request else Answer(status=422, error="idempotency_key_reused")
        mishap = self._mishaps.draw()
        answer = SERVER_ERROR if mishap == "before" else perform(mishap)
        if key is not None and mishap != "before":
            self._replays[key] = Replay(request, answer)
        if mishap is not None:
            self.counts[f"errors_{mishap}"] += 1
            answer = SERVER_ERROR
        self.counts[f"status_{answer.status}"] += 1
        return answer


def _result(write: Write, answer: Answer) -> dict[str, JsonValue]:
    result: dict[str, JsonValue] = {"id": write.record_id, "status": answer.status}
    if answer.etag is not None:
        result["etag"] = answer.etag
    if answer.error is not None:
        result["error"] = answer.error
    return result
