"""A provider's resource, as one of the two sides that a binding keeps alike."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ratesync.engine.sync.provider_side import PlainLens
from ratesync.model.lane import Lane
from ratesync.protocols.lens import Lens


@frozen(kw_only=True)
class ProviderRecords:
    """The records of one resource of a connection's: what ``Binding.local`` takes in place of a store of the host's.

    Its calls go through the quotas and the circuit of its own account. What the provider can do counts for this side as
    it does for the other one: conditional writes, the identity of creates, how deletes come to be known.
    """

    provider: str
    """Name of the provider, as its adapter gives it."""
    resource: str
    connection: str = "default"
    mapping: Lens = field(factory=PlainLens)
    """Translates between the provider's records and the view. Default: a record is its own view. The mappings of both
    sides have the same names, which are those that ``match_keys``, ``references`` and conflicts have, too."""
    match_keys: Mapping[str, str] = field(factory=dict[str, str])
    """Where the binding's match keys stand in a record of this provider's. Default: where the mapping has them."""
    priority: int = 0
    """Of the calls to this provider, among all others."""

    @property
    def lane(self) -> Lane:
        """The account at the provider."""
        return Lane(self.provider, self.connection)
