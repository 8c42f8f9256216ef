"""Four syncing processes before one account, with nginx refusing what comes too fast."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.real_sync.life import Life, Syncer, Syncers, life
from tests.servers.kinto_server import Kinto
from tests.servers.nginx_server import running_nginx
from tests.servers.valkey_server import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

PROCESSES = 4
EDITS = 12
RATE, BURST = 4, 2
"""What nginx lets through: requests a second, and how many more at once."""


def test_four_processes_share_a_quota_and_lose_nothing_when_it_is_wrong(
    calm_kinto: Kinto, nginx: str, shared_valkey: Valkey, tmp_path: Path, syncers: Syncers
) -> None:
    upstream = f"http://{urlsplit(calm_kinto.url).netloc}"
    with (
        life(calm_kinto, tmp_path, shared_valkey.url, seed=1, syncers=syncers) as here,
        running_nginx(nginx, tmp_path, upstream, rate=RATE, burst=BURST) as limited,
        here.syncer(f"{limited.url}/v1") as fleet,
    ):
        sync_together(here, fleet, (BURST, RATE))
        declared = limited.answers()
        sync_together(here, fleet, (50 * BURST, 50 * RATE))
        careless = limited.answers() - declared
        with here.syncer() as last:
            assert here.finish(last) == []
    sys.stdout.write(f"by status, with the declared quota: {dict(declared)}, with one far too high: {dict(careless)}\n")
    assert declared["200"] > 2 * PROCESSES, "too few calls to tell anything"
    assert declared["429"] <= 1
    assert careless["429"] > 1


def sync_together(here: Life, fleet: Syncer, bucket: tuple[int, int]) -> None:
    """All processes make passes at the same time, while users edit.

    :param bucket: calls at once, and calls a second, as all of them believe.
    """
    here.users.act(2 * EDITS)
    fleet.begin(processes=PROCESSES, passes=3, later=0.0, bucket=bucket)
    here.users.act(EDITS)
    fleet.end()
