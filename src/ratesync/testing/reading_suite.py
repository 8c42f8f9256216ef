"""What the suites of reading have in common: the fixtures, and a transport that goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import httpx
import pytest

from ratesync.errors import ProviderError
from ratesync.testing.faulty_transport import FaultyTransport
from ratesync.testing.suite import Suite
from ratesync.testing.trouble import HARMLESS, OF_ROWS, UNENDING, Trouble

PATIENCE = 10.0
"""Seconds after which a call that should have ended counts as one that never ends."""
MOST_PAGES = 200
"""Pages after which a listing or feed of few records counts as one without an end."""
FAILING = sorted(set(Trouble) - HARMLESS - OF_ROWS - UNENDING)
"""Troubles with which nothing was read, and at once."""


class ReadingSuite(Suite):
    """Fixtures of the suites of reading. ``provider``, ``provider_over`` and ``there`` are the author's.

    ``provider`` is the adapter before a working provider, and ``there`` the records of a resource of it that begins
    empty (:class:`~ratesync.testing.records_there.RecordsThere`). ``provider_over`` makes the adapter over a transport,
    as for :class:`~ratesync.testing.trouble_suite.TroubleSuite`.
    """

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def transport(self) -> httpx.AsyncBaseTransport:
        """Leads to the working provider."""
        return httpx.AsyncHTTPTransport(trust_env=False)

    @pytest.fixture
    async def faulty(self, transport: httpx.AsyncBaseTransport) -> AsyncIterator[FaultyTransport]:
        """The transport under the adapter in trouble."""
        faulty = FaultyTransport(transport)
        yield faulty
        await faulty.aclose()


async def fails_in_every_trouble(call: Callable[[], Awaitable[object]], faulty: FaultyTransport) -> None:
    """Make sure that a reading call that meets a trouble is an error of ours, in time, and goes nowhere else."""
    for trouble in FAILING:
        faulty.play(trouble)
        with anyio.fail_after(PATIENCE):
            try:
                found = await call()
            except ProviderError:
                pass
            else:
                pytest.fail(f"a call that was {trouble} came to {found!r}")
        assert faulty.met[trouble] >= 1, "the adapter calls over the transport that it is given"
        assert faulty.strays == [], "nothing goes to another host"
