"""A real Radicale: a CardDAV server of others, with ETags, conditions and sync tokens that it may forget.

It runs as a process of its own (nothing of it is imported here) on a free port of 127.0.0.1, and keeps its cards in
files.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
from attrs import field, frozen

from tests.servers.process import answers, ended_after
from tests.servers.valkey_server import free_port, wait_for

CARDS = {"content-type": "text/vcard"}

SETTINGS = """
[server]
hosts = 127.0.0.1:{port}
[auth]
type = htpasswd
htpasswd_filename = {folder}/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = {folder}/collections
[logging]
level = warning
"""
BOOK = """<mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>
<resourcetype><collection/><C:addressbook/></resourcetype></prop></set></mkcol>"""


@frozen
class Radicale:
    """A running server with one account."""

    url: str
    folder: Path
    user: str = "ada"
    password: str = field(default="correct horse", repr=False)

    @property
    def auth(self) -> tuple[str, str]:
        """User and password, for HTTP Basic authentication."""
        return self.user, self.password

    def client(self) -> httpx.Client:
        """A plain client of the account, whose paths begin at its address books."""
        return httpx.Client(base_url=f"{self.url}/{self.user}", auth=self.auth, trust_env=False, timeout=20.0)

    def create_book(self, name: str) -> None:
        """Make an empty address book."""
        with self.client() as client:
            client.request("MKCOL", f"/{name}/", content=BOOK).raise_for_status()

    def forget_tokens(self, book: str) -> None:
        """Lose all sync tokens of a book, as after a restore or a move to another machine."""
        root = self.folder / "collections" / "collection-root"
        shutil.rmtree(root / self.user / book / ".Radicale.cache")


@contextmanager
def running_radicale(folder: Path) -> Generator[Radicale]:
    """Start Radicale in a folder, and stop it at the end.

    :raises RuntimeError: radicale is not installed.
    """
    if find_spec("radicale") is None:
        raise RuntimeError("radicale is not installed here; it belongs to the dependency group `test`")
    port, settings, log = free_port(), folder / "config", folder / "log"
    radicale = Radicale(f"http://127.0.0.1:{port}", folder)
    (folder / "users").write_text(":".join(radicale.auth) + "\n", encoding="utf-8")
    settings.write_text(SETTINGS.format(port=port, folder=folder), encoding="utf-8")
    with log.open("wb") as output:
        command = [sys.executable, "-m", "radicale", "--config", str(settings)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    with ended_after(process):
        wait_for(answers(process, radicale.url, log))
        yield radicale
