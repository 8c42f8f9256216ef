"""A Valkey that follows another one."""

from __future__ import annotations

from pathlib import Path

from tests.servers.valkey_server import Valkey, wait_for


def started_replica(primary: Valkey, folder: Path) -> Valkey:
    """A new server that has all that `primary` has, and gets what is written there."""
    folder.mkdir(exist_ok=True)
    primary.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    options = ("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
    replica = Valkey(primary.binary, folder, options=options)
    replica.start()
    wait_for(lambda: replica.info("replication")["master_link_status"] == "up")
    wait_for(lambda: "state=online" in primary.info("replication").get("slave0", ""))
    return replica
