"""One call to a provider, and what the provider is able to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from attrs import field, frozen
from attrs.validators import ge, gt, optional

from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome


@frozen
class Batch:
    """The operations of one call: all of one connection, resource and kind, at most ``batch_max`` of them.

    Their ``fields`` are already the provider's own. Each operation has its ``id`` and ``idempotency_key`` set.
    """

    lane: Lane
    resource: str
    kind: Kind
    operations: tuple[Operation, ...]

    @property
    def connection(self) -> str:
        """The account to call as."""
        return self.lane.connection

    def all_as(self, outcome: Outcome) -> dict[str, Outcome]:
        """One outcome for all operations, by their ids: of a call that failed as a whole."""
        return dict.fromkeys((operation.id or "" for operation in self.operations), outcome)


@frozen
class Reply(Mapping[str, Outcome]):
    """What a call came to: outcomes by operation id, and what the answer told of quotas.

    It is a mapping of its outcomes, so it stands wherever those alone would do.
    """

    outcomes: Mapping[str, Outcome]
    feedback: Feedback = NO_FEEDBACK

    def __getitem__(self, identity: str) -> Outcome:
        return self.outcomes[identity]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)


class ConditionalWrite(StrEnum):
    """Whether a write can depend on the record's version."""

    STRONG = "strong"
    """The provider compares and refuses (If-Match): no update is lost."""
    NONE = "none"
    """Operations with ``if_version`` are refused at submit."""


class CreateIdentity(StrEnum):
    """What keeps a create whose answer was lost from making a second record."""

    CLIENT_ID = "client_id"
    """The client chooses the id; a second create of that id conflicts."""
    IDEMPOTENCY_KEY = "idempotency_key"
    """The provider remembers the key and answers again what it answered before."""
    LOOKUP = "lookup"
    """The adapter's ``lookup`` finds out whether the create was applied."""
    NONE = "none"
    """Nothing: a create in doubt becomes a dead letter, it is never sent twice."""


class DeleteFeed(StrEnum):
    """How deletions of records at the provider come to be known."""

    TOMBSTONES = "tombstones"
    """The feed of changes names deleted records."""
    LISTING = "listing"
    """A deleted record is missing from a whole listing; nothing else tells."""
    NONE = "none"
    """They cannot be known, other than by reading each record."""


class NullMeaning(StrEnum):
    """What the provider does with a field that is written as null."""

    CLEAR = "clear"
    """It empties the field."""
    IGNORE = "ignore"
    """It leaves the field as it is. A sync then cannot empty a field there: the record is set aside and told."""


def _kinds(kinds: Iterable[Kind]) -> frozenset[Kind]:
    return frozenset(Kind(kind) for kind in kinds)


def _sizes(most: int | Mapping[Kind, int]) -> int | Mapping[Kind, int]:
    return {Kind(kind): size for kind, size in most.items()} if isinstance(most, Mapping) else most


@frozen(kw_only=True)
class Capabilities:
    """What an adapter can do, honestly. The engine never asks for more."""

    kinds: frozenset[Kind] = field(default=frozenset(Kind), converter=_kinds)
    """Kinds of operation it carries out; others are refused at submit. Default: all."""
    batch_max: int | Mapping[Kind, int] = field(default=1, converter=_sizes, hash=False)
    """Most operations in one call: of any kind, or of each kind that takes more than one. Default 1."""
    conditional_write: ConditionalWrite = ConditionalWrite.NONE
    """Whether a write can depend on the record's version. Default: it cannot."""
    create_identity: CreateIdentity = CreateIdentity.NONE
    """What keeps a create whose answer was lost from making a second record. Default: nothing."""
    concurrency: int | None = 10
    """Most calls at the same time for each connection; None for no bound. Default 10, as pools are small."""
    lookup_after: float = field(default=0.0, validator=ge(0.0))
    """Seconds after a create until ``lookup`` and ``find`` surely see the record, as search indexes lag. Default 0."""
    key_lasts: float | None = field(default=None, validator=optional(gt(0.0)))
    """Seconds for which the provider surely remembers an idempotency key; None, the default: for ever. A sync leaves a
    create in doubt that was begun earlier to a person, rather than send it once more."""
    deletes: DeleteFeed = DeleteFeed.NONE
    """How deletions at the provider come to be known. Default: they do not."""
    nulls: NullMeaning = NullMeaning.CLEAR
    """What the provider does with a field that is written as null. Default: it empties it."""

    def __attrs_post_init__(self) -> None:
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("concurrency must be None or at least 1")
        if min(map(self.most, Kind)) < 1:
            raise ValueError("batch_max must be at least 1")

    def most(self, kind: Kind) -> int:
        """Most operations of a kind in one call."""
        return self.batch_max if isinstance(self.batch_max, int) else self.batch_max.get(kind, 1)

    @property
    def largest(self) -> int:
        """Most operations in one call, whatever their kind."""
        return self.batch_max if isinstance(self.batch_max, int) else max(self.batch_max.values(), default=1)

    @property
    def is_mixed(self) -> bool:
        """Calls of different kinds take different numbers of operations."""
        return not isinstance(self.batch_max, int)
