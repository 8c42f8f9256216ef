"""A real Kinto: software of others, with real ETags, conditions and validation, as a provider to sync with.

It runs as a process of its own (nothing of it is imported here), keeps everything in memory, takes a free port of
127.0.0.1 and starts in about a second. Its batch endpoint takes 25 requests, and each answer carries `Backoff: 1`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
from attrs import field, frozen

from tests.servers.process import ended_after

START_TIMEOUT = 45.0
COMMAND = "import sys; from kinto.__main__ import main; sys.exit(main())"
SERVING = re.compile(r"Serving on (http://127\.0\.0\.1:\d+)")
BATCH_LIMIT = 25

# Port 0: the system gives a free one, and waitress names it in the log.
SETTINGS = f"""
[server:main]
use = egg:waitress
host = 127.0.0.1
port = 0

[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.userid_hmac_secret = only-for-tests
multiauth.policies = account
multiauth.policy.account.use = kinto.plugins.accounts.AccountsPolicy
kinto.includes = kinto.plugins.accounts kinto.plugins.history
kinto.account_create_principals = system.Everyone
kinto.bucket_create_principals = system.Authenticated
kinto.batch_max_requests = {BATCH_LIMIT}
kinto.backoff = 1
kinto.paginate_by = 1000
kinto.experimental_collection_schema_validation = true

[loggers]
keys = root, waitress

[handlers]
keys = console

[formatters]
keys = plain

[logger_root]
level = WARNING
handlers = console

[logger_waitress]
level = INFO
handlers =
qualname = waitress

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain

[formatter_plain]
format = %(levelname)s %(name)s %(message)s
"""


@frozen(kw_only=True)
class Kinto:
    """A running Kinto with one account. `url` ends in the API's version and has no slash at the end: `http://…/v1`."""

    url: str
    user: str = "ada"
    password: str = field(default="correct horse", repr=False)

    @property
    def auth(self) -> tuple[str, str]:
        """User and password, for HTTP Basic authentication."""
        return self.user, self.password

    def client(self) -> httpx.Client:
        """A plain client of the account, for the test's own looks at the server."""
        return httpx.Client(base_url=self.url, auth=self.auth, trust_env=False, timeout=20.0)

    def create_account(self) -> None:
        """Make the account that `auth` names."""
        account = {"data": {"id": self.user, "password": self.password}}
        httpx.post(f"{self.url}/accounts", json=account, trust_env=False).raise_for_status()

    def create_collection(self, bucket: str, collection: str, schema: Mapping[str, object] | None = None) -> str:
        """Make an empty collection, and its bucket where there is none. Returns the URL of the collection's records.

        With a JSON schema, records that break it are refused with 400.
        """
        with self.client() as client:
            client.put(f"/buckets/{bucket}", json={}).raise_for_status()
            path = f"/buckets/{bucket}/collections/{collection}"
            settings = {} if schema is None else {"schema": dict(schema)}
            client.put(path, headers={"if-none-match": "*"}, json={"data": settings}).raise_for_status()
        return f"{self.url}{path}/records"


@contextmanager
def running_kinto(directory: Path, *, backoff: int = 1) -> Generator[Kinto]:
    """Start Kinto, with its settings and its log in a directory, and stop it at the end.

    Each answer asks to be left alone for ``backoff`` seconds.

    Raises `RuntimeError` when kinto is not installed, or ends or dawdles instead of serving; the log is in the message.
    """
    if find_spec("kinto") is None:
        raise RuntimeError("kinto is not installed here; it belongs to the dependency group `test`")
    settings, log = directory / "kinto.ini", directory / "kinto.log"
    settings.write_text(SETTINGS.replace("backoff = 1", f"backoff = {backoff}"), encoding="utf-8")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "start", "--ini", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "KINTO_INI": str(settings)},
        )
    with ended_after(process):
        kinto = Kinto(url=f"{_served_at(process, log)}/v1")
        kinto.create_account()
        yield kinto


def _served_at(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        serving = SERVING.search(log.read_text(encoding="utf-8", errors="replace"))
        if serving is not None:
            return serving[1]
        if ended:
            break
        time.sleep(0.05)
    raise RuntimeError(f"kinto does not serve:\n{log.read_text(encoding='utf-8', errors='replace')}")
