"""What a server keeps when it dies, and what else to know of it before it is trusted."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ratesync.model.work import Durability

_FSYNC = {"always": Durability.FSYNC, "everysec": Durability.FSYNC_1S}
_STRENGTH = [Durability.PROCESS, Durability.FSYNC_1S, Durability.FSYNC]
NO_EVICTION = "noeviction"


@frozen
class Settings:
    """The settings of a server that matter here. None: it does not tell."""

    appendonly: bool | None = None
    appendfsync: str | None = None
    policy: str | None = None
    """What it does when its memory is full."""

    @classmethod
    def of(cls, told: Mapping[str, str]) -> Settings:
        """From the answer to CONFIG GET."""
        appendonly = told.get("appendonly")
        return cls(
            appendonly=None if appendonly is None else appendonly == "yes",
            appendfsync=told.get("appendfsync"),
            policy=told.get("maxmemory-policy"),
        )

    @property
    def durability(self) -> Durability | None:
        """What the server's own disk makes sure of; None if it does not tell."""
        if self.appendonly is None:
            return None
        return _FSYNC.get(self.appendfsync or "", Durability.PROCESS) if self.appendonly else Durability.PROCESS


def given(settings: Settings, declared: Durability | None) -> Durability:
    """What accepted writes survive: what the server tells, else what the host declares, else nothing."""
    if declared is Durability.REPLICATED:
        return declared
    return settings.durability or declared or Durability.PROCESS


def warnings_for(name: str, settings: Settings, declared: Durability | None) -> list[str]:
    """What a host should know of its server."""
    found: list[str] = []
    if settings.policy not in {None, NO_EVICTION}:
        found.append(
            f"{name}: when its memory is full, this Redis throws away data ({settings.policy}), queued operations "
            "among them. Set maxmemory-policy to noeviction."
        )
    durability = settings.durability
    if durability is None and declared is None:
        found.append(
            f"{name}: this Redis does not tell how it saves data (CONFIG is forbidden), so it is taken to save "
            "nothing. If it does, say so with durability=."
        )
    if durability is None:
        return found
    if durability is Durability.PROCESS and declared not in {Durability.PROCESS, Durability.REPLICATED}:
        found.append(
            f"{name}: this Redis does not save data as it gets them, so that a crash loses accepted operations. Set "
            "appendonly to yes, or say durability=Durability.PROCESS if that is meant."
        )
    elif declared is not None and declared in _STRENGTH and _STRENGTH.index(declared) > _STRENGTH.index(durability):
        found.append(
            f"{name}: {declared.value} was asked for, and this Redis gives {durability.value}. Set appendfsync to "
            "always, or ask for less."
        )
    return found
