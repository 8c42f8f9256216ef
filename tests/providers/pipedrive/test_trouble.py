"""Answers that go wrong on the wire, for everything that the adapter asks."""

from __future__ import annotations

import pytest

from ratesync import Kind, RetryLater, Unknown
from ratesync.errors import ProviderError
from ratesync.http import Account, ApiKey
from ratesync.providers.pipedrive import PipedriveProvider
from tests.providers.pipedrive.speaking import MARK, execute, operation
from tests.servers.fault_server import FaultServer, Reply
from tests.servers.replies import BROKEN_ON_THE_WIRE, NEVER_ENDING, OVERSIZE_BODIES, UNREADABLE_BODIES, redirect

pytestmark = pytest.mark.anyio

TROUBLE: dict[str, Reply] = {
    **{name: BROKEN_ON_THE_WIRE[name] for name in ("closed without an answer", "truncated body", "gzip that is none")},
    **{name: UNREADABLE_BODIES[name] for name in ("HTML", "nothing with 200", "JSON 10,000 deep", "lone surrogate")},
    "a body without an end": OVERSIZE_BODIES["endless chunks"],
    "no answer": NEVER_ENDING["hang"],
    "a redirect to another host": redirect("https://evil.example/"),
}
PATHS = ["/api/v2/persons", "/api/v2/persons/1", "/api/v2/persons/search", "/api/v2/personFields"]


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_nothing_is_taken_for_done_and_nothing_else_is_raised(fault_server: FaultServer, trouble: str) -> None:
    for path in PATHS:
        fault_server.script(path, TROUBLE[trouble])
    account = Account(ApiKey("a secret key", header="x-api-token"))
    async with PipedriveProvider(
        account,
        base_url=fault_server.url,
        identity_fields={"persons": MARK},
        timeout=0.3 if trouble == "no answer" else 5.0,
        max_response_bytes=50_000,
    ) as pipedrive:
        for kind in (Kind.CREATE, Kind.READ, Kind.UPDATE, Kind.DELETE):
            writes = [operation(kind, None if kind is Kind.CREATE else "1", name="Ada") for _ in range(2)]
            (first, second), _ = await execute(pipedrive, writes)
            if trouble == "a redirect to another host":
                assert type(first).__name__ == "Rejected"
                continue
            assert isinstance(first, Unknown), (kind, first)
            assert isinstance(second, RetryLater), (kind, second)
        for ask in (
            pipedrive.pull_changes("default", "persons", None, limit=10),
            pipedrive.list_records("default", "persons", None, limit=10),
            pipedrive.find("default", "persons", "name", ["Ada"]),
            pipedrive.describe("default", "persons"),
            pipedrive.lookup(operation(Kind.CREATE)),
            execute(pipedrive, [operation(Kind.READ, str(number)) for number in range(11)]),
        ):
            with pytest.raises(ProviderError) as caught:
                await ask
            assert "secret" not in str(caught.value)
