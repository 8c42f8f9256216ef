"""Finding the operations for which a provider refuses a whole batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ratesync.errors import ProviderError
from ratesync.model.batch import Batch
from ratesync.model.outcome import Cause, Outcome, RetryLater
from ratesync.rules.matching import halves, is_refused_whole
from ratesync.rules.provider_errors import outcome_for_error

MAX_CALLS = 32
"""Calls for one batch, unless told otherwise."""

Send = Callable[[Batch], Awaitable[Mapping[str, Outcome]]]


async def bisect_refused(batch: Batch, send: Send, *, max_calls: int = MAX_CALLS) -> dict[str, Outcome]:
    """Send a batch to a provider that carries out all of it or nothing; halve it where all was refused.

    So one bad record does not take the others with it. For one bad record among ``n`` that takes about ``2 log2(n)``
    calls more. They are calls of the same permit: give the limit some room, or a smaller ``max_calls``. What is not
    reached within that is ``RetryLater``, which is true, as nothing of it was carried out.

    :param send: makes one call; outcomes by operation id. If it raises a ProviderError, that holds for its part alone,
        and what was not sent yet stays for later.
    """
    outcomes: dict[str, Outcome] = {}
    waiting = [batch]
    calls = 0
    while waiting:
        part = waiting.pop()
        if calls >= max_calls:
            outcomes |= part.all_as(_LATER)
            continue
        calls += 1
        try:
            told = await send(part)
        except ProviderError as error:
            outcomes |= part.all_as(outcome_for_error(error))
            calls = max_calls
            continue
        if is_refused_whole(part, told):
            waiting += reversed(halves(part))
        else:
            outcomes |= told
    return outcomes


_LATER = RetryLater("refused together with others; not tried apart from them yet", Cause.UNAVAILABLE)
