"""A Valkey that watches another one, and makes a replica the primary when that one dies."""

from __future__ import annotations

from pathlib import Path

from attrs import define

from tests.servers.valkey_server import Valkey, wait_for

SERVICE = "jobs"


@define
class WatchedValkey:
    """Three running servers."""

    primary: Valkey
    replica: Valkey
    sentinel: Valkey

    @property
    def url(self) -> str:
        """Where clients ask for the primary."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SERVICE}"


CONFIGURATION = """
sentinel monitor {service} 127.0.0.1 {port} 1
sentinel down-after-milliseconds {service} 300
sentinel failover-timeout {service} 3000
"""


def started_sentinel(primary: Valkey, folder: Path) -> Valkey:
    """A new sentinel that knows `primary` and its replica."""
    folder.mkdir(exist_ok=True)
    file = folder / "sentinel.conf"
    file.write_text(CONFIGURATION.format(service=SERVICE, port=primary.port), encoding="utf-8")
    sentinel = Valkey(primary.binary, folder, options=("--sentinel",), configuration=file)
    sentinel.start()
    wait_for(lambda: sentinel.ask("SENTINEL", "REPLICAS", SERVICE))
    return sentinel


def primary_port(sentinel: Valkey) -> int:
    """Where the sentinel says the primary is."""
    return int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
