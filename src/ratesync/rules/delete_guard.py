"""Whether so many deletes can be meant. If not they are held until somebody approves, and all else goes on."""

from __future__ import annotations

from attrs import frozen


@frozen
class DeletePolicy:
    """What a pass may delete without being asked."""

    max_deletes: int = 25
    """Most deletes of one pass."""
    max_delete_ratio: float = 0.1
    """Most of the links that one pass may delete, from 0 to 1."""
    ratio_applies_above: int = 3
    """Deletes up to this many are not held for ``max_delete_ratio``: with few links, one delete is a large part.
    0 means that the ratio always applies."""
    refuse_if_side_empty: bool = True
    """Hold all deletes if a side lists no record, while there are links."""
    min_listing_ratio: float = 0.5
    """Least part of the links that a listing must have found, or what it lacks is not taken for deleted."""


def reason_to_hold(policy: DeletePolicy, *, deletes: int, links: int, listed: int | None) -> str | None:
    """Why the deletes of a pass are held; None if they may be carried out.

    ``links`` counts the links before the pass; ``listed`` the records that a complete listing found, and is None if the
    deletes were told by tombstones.
    """
    if deletes == 0:
        return None
    if listed == 0 and links and policy.refuse_if_side_empty:
        return f"a side lists no record, while {links} are linked"
    if listed is not None and listed < policy.min_listing_ratio * links:
        return f"a listing found {listed} records, while {links} are linked"
    if deletes > policy.max_deletes:
        return f"{deletes} deletes are more than max_deletes={policy.max_deletes}"
    if deletes > max(policy.ratio_applies_above, policy.max_delete_ratio * links):
        return f"{deletes} deletes of {links} links are more than max_delete_ratio={policy.max_delete_ratio}"
    return None
