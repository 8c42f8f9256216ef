"""What a host declares to have two sides kept alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import Factory, evolve, field, frozen

from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.provider_records import ProviderRecords
from ratesync.engine.sync.provider_side import PlainLens
from ratesync.model.difference import Side, View
from ratesync.model.direction import Direction
from ratesync.model.lane import Lane
from ratesync.model.reference import Reference
from ratesync.protocols.lens import Lens
from ratesync.protocols.local import LocalStore
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.first_match import Situation
from ratesync.rules.merge import Resolve
from ratesync.rules.reconcile import GonePolicy
from ratesync.rules.resolvers import manual, prefer
from ratesync.rules.situations import Policy, Response, complete


def _references(given: Mapping[str, Reference | str]) -> Mapping[str, Reference]:
    return {name: Reference.to(target) for name, target in given.items()}


def _declared_keys(binding: Binding) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(binding.mapping, "match_keys", {})
    return found


@frozen(kw_only=True)
class Binding:
    """A provider's resource, and records of the host's or of another provider's; and how the two are kept alike."""

    local: LocalStore | ProviderRecords
    """The host's records; or :class:`ProviderRecords`, and then that provider stands where others say "the host"."""
    provider: str
    """Name of the provider, as its adapter gives it."""
    resource: str
    connection: str = "default"
    mapping: Lens = field(factory=PlainLens)
    """Translates between the provider's records and the host's. Default: the fields are the same on both sides."""
    resolve: Resolve = field(factory=manual)
    """Decides fields that both sides changed. Default: they wait for a person."""
    gone: GonePolicy = field(factory=GonePolicy)
    """What becomes of a record whose other half was deleted."""
    guard: DeletePolicy = field(factory=DeletePolicy)
    """What a pass may delete without being asked."""
    match_keys: Mapping[str, str] = field(default=Factory(_declared_keys, takes_self=True))
    """Fields by which records of both sides are the same at their first meeting, and where they stand in a record of
    the provider's. Default: those that the mapping declares (``match_key=True``). ``{}``: none, so that each record is
    made anew on the other side.

    Two records are compared by the first key that both have. A side is searched for a value as it is spelt, trimmed,
    and in lower case (casefolded), and what it finds is the same if it is so but for case and outer blanks; a number is
    the same as its text. So where a side compares exactly, as Kinto does, write keys in lower case there: a pair of
    which it finds neither half by the other's value counts as two records."""
    references: Mapping[str, Reference] = field(factory=dict[str, Reference], converter=_references)
    """Fields that hold ids of records of other resources, or of this one, and of which. Each of those has a binding, to
    the same account, by whose links the ids are translated. A resource's name will do: ``{"account_id": "accounts"}``;
    and so will a mapping's ``refs``."""
    direction: Direction = Direction.BOTH
    """Which way changes go. Fields that go one way only are declared in the mapping."""
    policy: Policy = field(factory=dict[Situation, Response])
    """What is done about records by the situation that they are in at their first meeting, and about those out of
    scope. Default: what matches is linked, what stands on one side only is made on the other, what cannot be told apart
    is left and reported, what is out of scope is ignored."""
    scope: Callable[[View], bool] | None = None
    """Whether a record is to be synced, by its view; pure. A linked one is left alone when neither of its two records
    is in scope any more: it is not deleted, and goes on when one is again. Default: all are."""
    priority: int = 0
    """Of the calls to the provider, among all others."""

    def __attrs_post_init__(self) -> None:
        complete(self.policy, self.direction)
        if isinstance(self.local, ProviderRecords):
            self._check_local(self.local)

    def _check_local(self, local: ProviderRecords) -> None:
        if (local.lane, local.resource) == (self.lane, self.resource):
            raise ValueError("local: it is the same resource of the same account as the other side")
        if unknown := sorted(local.match_keys.keys() - self.match_keys.keys()):
            raise ValueError(f"local.match_keys: {unknown[0]!r} is none of the binding's match keys")

    @property
    def pair_gone(self) -> GonePolicy:
        """What becomes of records whose other half is gone, with what the direction rules out."""
        if self.direction is Direction.BOTH:
            return self.gone
        return evolve(self.gone, applies_to=self.gone.applies_to & self.direction.written, edit_wins=False)

    @property
    def pair_resolve(self) -> Resolve:
        """What decides fields that both sides changed: where one side is never written, it is that one that holds."""
        if self.direction is Direction.BOTH:
            return self.resolve
        return prefer(Side.LOCAL if self.direction is Direction.PUSH else Side.EXTERNAL)

    @property
    def lane(self) -> Lane:
        """The account at the provider."""
        return Lane(self.provider, self.connection)

    @property
    def providers(self) -> Mapping[Side, ProviderRecords]:
        """The sides that are a provider's."""
        external = ProviderRecords(
            provider=self.provider,
            resource=self.resource,
            connection=self.connection,
            mapping=self.mapping,
            match_keys=self.match_keys,
            priority=self.priority,
        )
        local = {Side.LOCAL: self.local} if isinstance(self.local, ProviderRecords) else {}
        return {**local, Side.EXTERNAL: external}

    def keys_of(self, resource: str) -> Keys:
        """Where the state stands of the binding between the same two to a resource of the same account."""
        local, place = self.local, (*self.lane, resource)
        return Keys.between(*place, *local.lane) if isinstance(local, ProviderRecords) else Keys.of(*place)
