"""A process of a fleet: calls the API of the OAuth server and prints what its calls came to.

``python -m tests.http.oauth_worker URL FILE``: for each line of standard input, 8 calls at a time, 24 in all.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import anyio
import anyio.to_thread

from ratesync.errors import ProviderError
from ratesync.http import FernetCipher, HttpCaller, OAuth2, RefreshToken, StateVault, TokenEndpoint, TokenKeeper
from ratesync.sqlite import SqliteStateStore
from tests.servers.oauth_server import CLIENT_ID, CLIENT_SECRET

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
NAME = "acme/default"
TASKS, CALLS = 8, 3


async def main(url: str, file: str) -> None:
    """Work until standard input is closed."""
    store = SqliteStateStore(file)
    await store.open()
    endpoint = TokenEndpoint(f"{url}/token", client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    keeper = TokenKeeper(
        grant=RefreshToken(), endpoint=endpoint, vault=StateVault(store, NAME, FernetCipher(KEY)), lease=30
    )
    async with endpoint, HttpCaller(url, auth=OAuth2(keeper)) as caller:
        say("ready")
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            outcomes: Counter[str] = Counter()

            async def work(outcomes: Counter[str] = outcomes) -> None:
                for _ in range(CALLS):
                    try:
                        outcomes[str((await caller.send("POST", "/api", json={"a": 1})).status)] += 1
                    except ProviderError as error:
                        outcomes[f"{type(error).__name__}: {error}"] += 1

            async with anyio.create_task_group() as tasks:
                for _ in range(TASKS):
                    tasks.start_soon(work)
            say(outcomes)
    await store.close()


def say(what: object) -> None:
    """One line for the test."""
    print(json.dumps(what), flush=True)  # noqa: T201


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
