"""Three Valkeys that are a cluster, each with a third of the slots."""

from __future__ import annotations

from binascii import crc_hqx
from pathlib import Path

from attrs import define

from tests.servers.valkey_server import Valkey, free_port, wait_for

SLOTS = 16384
NODES = 3


def slot_of(key: str) -> int:
    """The slot of a key: of the part in braces, if there is one."""
    _, brace, rest = key.partition("{")
    tag, end, _ = rest.partition("}")
    return crc_hqx((tag if brace and end and tag else key).encode(), 0) % SLOTS


@define
class ValkeyCluster:
    """A running cluster without replicas."""

    nodes: list[Valkey]

    @property
    def url(self) -> str:
        """Where clients find it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @classmethod
    def start(cls, binary: Path, folder: Path) -> ValkeyCluster:
        """Start it, and wait until all nodes know all slots."""
        nodes: list[Valkey] = []
        for number in range(NODES):
            place = folder / f"node{number}"
            place.mkdir()
            options: tuple[str, ...] = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            options += ("--cluster-require-full-coverage", "no", "--appendfsync", "always")
            options += ("--cluster-port", str(free_port()))
            nodes.append(Valkey(binary, place, append_only=True, options=options))
            nodes[-1].start()
        cluster = cls(nodes)
        for number, node in enumerate(nodes):
            first, end = number * SLOTS // NODES, (number + 1) * SLOTS // NODES
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node in nodes[1:]:
            nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), node.options[-1])
        wait_for(lambda: all(cluster._knows_all(node) for node in nodes))
        return cluster

    @staticmethod
    def _knows_all(node: Valkey) -> bool:
        told = dict(line.split(":") for line in node.ask("CLUSTER", "INFO").split())
        return bool(told["cluster_state"] == "ok" and told["cluster_slots_ok"] == str(SLOTS))

    def owner(self, key: str) -> Valkey:
        """The node with the slot of a key."""
        return self.nodes[slot_of(key) * NODES // SLOTS]

    def begin_migration(self, key: str, target: Valkey) -> Valkey:
        """From now on, keys of the slot that are not there are asked for at `target`. Returns the owner."""
        source, slot = self.owner(key), str(slot_of(key))
        ids = {node.port: node.ask("CLUSTER", "MYID") for node in self.nodes}
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
        return source

    def migrate(self, key: str, target: Valkey) -> None:
        """Move all keys of the slot of `key`, after `begin_migration`."""
        while keys := self.owner(key).ask("CLUSTER", "GETKEYSINSLOT", str(slot_of(key)), "100"):
            self.move(keys, target)

    def move(self, keys: list[str], target: Valkey) -> None:
        """Move some keys of one slot, after `begin_migration`."""
        self.owner(keys[0]).ask("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)

    def end_migration(self, key: str, target: Valkey) -> None:
        """The slot of `key` is the target's."""
        slot, name = str(slot_of(key)), target.ask("CLUSTER", "MYID")
        for node in (target, *(node for node in self.nodes if node is not target)):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    def other(self, key: str) -> Valkey:
        """A node without the slot of a key."""
        return next(node for node in self.nodes if node is not self.owner(key))

    def add_replica(self, primary: Valkey) -> Valkey:
        """A new node that has all that `primary` has, and gets what is written there."""
        place, port = primary.folder.parent / "replica", str(free_port())
        place.mkdir()
        options = (*primary.options[:-1], port)
        replica = Valkey(primary.binary, place, append_only=True, options=options)
        replica.start()
        self.nodes.append(replica)
        replica.ask("CLUSTER", "MEET", "127.0.0.1", str(primary.port), primary.options[-1])
        name = primary.ask("CLUSTER", "MYID")
        wait_for(lambda: name in replica.ask("CLUSTER", "NODES") and self._knows_all(replica))
        replica.ask("CLUSTER", "REPLICATE", name)
        wait_for(lambda: "state=online" in primary.info("replication").get("slave0", ""))
        return replica

    def kill(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.kill()
