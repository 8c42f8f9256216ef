"""What a host declares to have two sides kept alike."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ratesync.engine.sync.provider_side import PlainLens
from ratesync.model.lane import Lane
from ratesync.protocols.lens import Lens
from ratesync.protocols.local import LocalStore
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.merge import Resolve
from ratesync.rules.reconcile import GoneMode, GonePolicy
from ratesync.rules.resolvers import manual


def _is_possible(_binding: object, _attribute: object, gone: GonePolicy) -> None:
    if gone.mode is GoneMode.ARCHIVE:
        raise ValueError("gone: records cannot be archived by a sync yet; choose DELETE, UNLINK or IGNORE")


@frozen(kw_only=True)
class Binding:
    """A store of the host's and a resource of a provider's, and how they are kept alike."""

    local: LocalStore
    provider: str
    """Name of the provider, as its adapter gives it."""
    resource: str
    connection: str = "default"
    mapping: Lens = field(factory=PlainLens)
    """Translates between the provider's records and the host's. Default: the fields are the same on both sides."""
    resolve: Resolve = field(factory=manual)
    """Decides fields that both sides changed. Default: they wait for a person."""
    gone: GonePolicy = field(factory=GonePolicy, validator=_is_possible)
    """What becomes of a record whose other half was deleted."""
    guard: DeletePolicy = field(factory=DeletePolicy)
    """What a pass may delete without being asked."""
    match_keys: Mapping[str, str] = field(factory=dict[str, str])
    """Fields by which records of both sides are the same at their first meeting, and where they stand in a record of
    the provider's. Default: none, so that each record is made anew on the other side."""
    priority: int = 0
    """Of the calls to the provider, among all others."""

    @property
    def lane(self) -> Lane:
        """The account at the provider."""
        return Lane(self.provider, self.connection)
