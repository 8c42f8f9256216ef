"""What a trial of the simulation is about: drawn from its seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum
from functools import cached_property

from attrs import frozen

from ratesync.model.batch import Capabilities, ConditionalWrite, CreateIdentity, DeleteFeed
from ratesync.model.operation import Fields

LONGEST = 9
"""Characters of a value that a side keeps which cuts values."""
REFERENCE = "account"
"""The field of a contact that holds the id of another record: a side keeps it as it is."""
IDENTITIES = (CreateIdentity.CLIENT_ID, CreateIdentity.IDEMPOTENCY_KEY, CreateIdentity.LOOKUP)


class Versions(Enum):
    """What versions a provider has."""

    COUNTED = "counted"
    OF_CONTENT = "of content"
    """The same content has the same version again."""
    FLAKY = "flaky"
    """They change by themselves, too."""
    NONE = "none"


@frozen(kw_only=True)
class Trial:
    """The provider's abilities, the habits of both sides, and how busy everybody is."""

    seed: int
    conditional: bool
    """Writes can depend on the version that was read."""
    identity: CreateIdentity
    tombstones: bool
    versions: Versions
    coarse: bool
    """The feed is ordered by a clock that ticks every 10 s."""
    answers_with_record: bool
    feed_has_fields: bool
    batch_max: int
    tidy_local: str
    tidy_external: str
    engines: int
    poller: bool
    """Somebody else pulls all the time."""
    slow_chance: float
    """Of a call taking long, in which others get far."""
    resolver: str
    edit_wins: bool
    edit_chance: float
    """Of a user doing something at each step of an engine."""
    kill_chance: float
    fault_chance: float
    """Of a call being refused, or its answer lost."""
    expiry_chance: float
    """Of a cursor not being known any more."""
    passes: int
    lookup_after: float
    """Seconds until a look-up sees a record that was made."""
    tells_versions: bool
    """Writes are answered with the version that they gave."""
    upserts: bool
    """Where creates are looked up: they carry a key of ours that the record holds from then on. A look-up goes by it,
    and a second create of that key changes the record."""
    verifies: bool
    """It is the adapter that compares versions, by a read just before the write: somebody may come in between."""
    families: bool
    """Contacts refer to other records, which have a binding of their own."""
    blink_chance: float
    """Of a read not finding a record that is there; once for each record at most."""

    @classmethod
    def of(cls, seed: int) -> Trial:
        """The trial of a seed."""
        draw = random.Random(seed)
        return cls(
            seed=seed,
            conditional=True,
            identity=draw.choice(IDENTITIES),
            tombstones=draw.random() < 0.6,
            versions=draw.choice((Versions.COUNTED, Versions.COUNTED, Versions.OF_CONTENT, Versions.FLAKY)),
            coarse=draw.random() < 0.3,
            answers_with_record=draw.random() < 0.5,
            feed_has_fields=draw.random() < 0.5,
            batch_max=draw.choice((1, 3)),
            tidy_local=draw.choice(("", "", "strip", "upper", "cut")),
            tidy_external=draw.choice(("", "", "lower", "pad", "cut")),
            engines=draw.choice((1, 1, 2)),
            poller=draw.random() < 0.05,
            slow_chance=draw.choice((0.0, 0.05)),
            resolver=draw.choice(("local", "external", "manual", "manual first")),
            edit_wins=draw.random() < 0.7,
            edit_chance=draw.choice((0.02, 0.1, 0.2)),
            kill_chance=draw.choice((0.0, 0.02, 0.08)),
            fault_chance=draw.choice((0.0, 0.05)),
            expiry_chance=draw.choice((0.0, 0.05)),
            passes=draw.choice((2, 3, 4)),
            lookup_after=draw.choice((0.0, 40.0)),
            tells_versions=draw.random() < 0.8,
            upserts=draw.random() < 0.5,
            verifies=False,
            families=draw.random() < 0.15,
            blink_chance=draw.choice((0.0, 0.0, 0.1)),
        )

    @cached_property
    def is_shared(self) -> bool:
        """Several tasks take turns."""
        return self.engines > 1 or self.poller

    @cached_property
    def capabilities(self) -> Capabilities:
        """As the provider's adapter says them."""
        return Capabilities(
            concurrency=1,  # who takes turns cannot wait for tasks: whole engines can (adapter.py)
            batch_max=self.batch_max,
            conditional_write=ConditionalWrite.STRONG if self.conditional else ConditionalWrite.NONE,
            create_identity=self.identity,
            deletes=DeleteFeed.TOMBSTONES if self.tombstones else DeleteFeed.LISTING,
            lookup_after=self.lookup_after,
        )


def tidy(how: str, fields: Fields) -> Fields:
    """What a side makes of values that it is given. Doing it twice changes nothing more."""
    tidied = HABITS[how]
    return {
        name: tidied(value) if isinstance(value, str) and name != REFERENCE else value for name, value in fields.items()
    }


HABITS: dict[str, Callable[[str], str]] = {
    "": str,
    "strip": str.strip,
    "upper": str.upper,
    "lower": str.lower,
    "pad": lambda value: value if value.endswith(" ") else f"{value} ",
    "cut": lambda value: value[:LONGEST],
}
