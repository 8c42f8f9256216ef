"""The fake company, behind a socket and without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.pipedrive_company import Company
from tests.servers.pipedrive_server import PipedriveServer


@pytest.fixture(scope="module")
def listening() -> Iterator[PipedriveServer]:
    with PipedriveServer() as server:
        yield server


@pytest.fixture
def server(listening: PipedriveServer) -> PipedriveServer:
    """A server with a company that nobody has used."""
    listening.company = Company()
    return listening


@pytest.fixture
def company() -> Company:
    """A company for tests that need no socket."""
    return Company()
