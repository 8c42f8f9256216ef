"""Run the CRM server as a process of its own, and ask it afterwards what it has and what it did.

    with running_crm(CrmOptions(accounts=DEMO_ACCOUNTS)) as crm:
        ...                                  # sync to crm.url with the accounts' tokens
        report = crm.report()                # everything verification.verify needs

The calls of `CrmProcess` block: in async code run them when the work is over, or in a thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

import cattrs
import httpx
from attrs import frozen

from .crm_options import CrmOptions
from .crm_store import Application, Fields, JsonValue

REPOSITORY = Path(__file__).resolve().parents[2]
ADMIN_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
MOST_IDLE = 600.0
"""Seconds without a request after which a server that nobody waits for ends."""
SERVER = (sys.executable, "-m", "examples.demo.crm_server")


@frozen(kw_only=True)
class AccountReport:
    """What the server holds and did for one account.

    `records` maps (resource, id) to fields; `applications` are the applied writes, oldest first; `accepted_at` are the
    server's seconds at which accepted requests arrived; `counts` are its totals (`requests`, `accepted`, `refused`,
    `errors_before`, `errors_after`, `applied`, `replayed`, `status_<code>`), a missing one being 0; `peaks` are the
    most requests that arrived within each window of the account, refused ones included.
    """

    records: Mapping[tuple[str, str], Fields]
    applications: tuple[Application, ...]
    accepted_at: tuple[float, ...]
    counts: Mapping[str, int]
    peaks: tuple[int, ...]


@frozen
class CrmProcess:
    """A running CRM server at `url` (no trailing slash)."""

    url: str
    options: CrmOptions

    @property
    def is_there(self) -> bool:
        """Whether it answers, as the server of these accounts."""
        try:
            with httpx.Client(base_url=self.url, timeout=ADMIN_TIMEOUT, trust_env=False) as admin:
                return _json(admin, "/_admin/statistics").keys() == {account.name for account in self.options.accounts}
        except (httpx.HTTPError, ValueError):
            return False

    def stop(self) -> None:
        """End it, if it is still there."""
        with (
            suppress(httpx.HTTPError),
            httpx.Client(base_url=self.url, timeout=ADMIN_TIMEOUT, trust_env=False) as admin,
        ):
            admin.post("/_admin/stop")

    def report(self) -> dict[str, AccountReport]:
        """The report of every account, by its name."""
        with httpx.Client(base_url=self.url, timeout=ADMIN_TIMEOUT, trust_env=False) as admin:
            statistics = _json(admin, "/_admin/statistics")
            return {
                account.name: _account_report(admin, account.name, statistics[account.name])
                for account in self.options.accounts
            }


def start_crm(options: CrmOptions) -> CrmProcess:
    """Start the server on a free port, to live on when this process ends; without requests it ends after a while.

    Raises `RuntimeError` when the server ends before it listens.
    """
    command = [*SERVER, "--stop-when-idle", str(MOST_IDLE), "--options", options.to_json()]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it lives on, and a pipe that it had inherited would stay open with it
        text=True,
        start_new_session=True,
    )
    with cast("IO[str]", process.stdout) as output:
        crm = CrmProcess(f"http://127.0.0.1:{_announced_port(output)}", options)
    process.returncode = 0  # it is left to itself, which Python would warn of
    return crm


@contextmanager
def running_crm(options: CrmOptions) -> Generator[CrmProcess]:
    """Start the server on a free port of 127.0.0.1 and stop it at the end. Its complaints go to standard error.

    Raises `RuntimeError` when the server ends before it listens.
    """
    command = [*SERVER, "--stop-on-eof", "--options", options.to_json()]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield CrmProcess(f"http://127.0.0.1:{_announced_port(process.stdout)}", options)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _announced_port(output: IO[str] | None) -> int:
    line = output.readline() if output is not None else ""
    word, _, port = line.partition(" ")
    if word != "PORT":
        raise RuntimeError(f"the CRM server did not start; see: {' '.join(SERVER)}")
    return int(port)


def _account_report(admin: httpx.Client, name: str, statistics: JsonValue) -> AccountReport:
    account = f"/_admin/accounts/{name}"
    totals = cast("dict[str, JsonValue]", statistics)
    windows = cast("list[dict[str, int]]", totals["windows"])
    records = {
        (cast("str", row["resource"]), cast("str", row["id"])): cast("Fields", row["fields"])
        for row in _rows(admin, f"{account}/records")
    }
    return AccountReport(
        records=records,
        applications=tuple(cattrs.structure(row, Application) for row in _rows(admin, f"{account}/applications")),
        accepted_at=tuple(cast("list[float]", admin.get(f"{account}/arrivals").raise_for_status().json())),
        counts={name: count for name, count in totals.items() if isinstance(count, int)},
        peaks=tuple(window["peak_arrived"] for window in windows),
    )


def _json(admin: httpx.Client, path: str) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", admin.get(path).raise_for_status().json())


def _rows(admin: httpx.Client, path: str) -> Iterator[dict[str, JsonValue]]:
    with admin.stream("GET", path) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            yield cast("dict[str, JsonValue]", json.loads(line))
