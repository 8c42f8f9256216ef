from __future__ import annotations

import pytest

from ratesync.rules.delete_guard import DeletePolicy, reason_to_hold


@pytest.mark.parametrize(
    ("deletes", "links", "listed", "why"),
    [
        (0, 100, 0, None),
        (10, 100, None, None),
        (25, 1000, 500, None),
        (1, 100, 0, "no record"),
        (1, 100, 49, "a listing found 49"),
        (26, 1000, 974, "max_deletes=25"),
        (11, 100, None, "max_delete_ratio=0.1"),
        (1, 1, None, None),
        (3, 5, None, None),
        (4, 5, None, "max_delete_ratio=0.1"),
        (3, 5, 2, "a listing found 2"),
    ],
)
def test_deletes_that_cannot_be_meant_are_held(deletes: int, links: int, listed: int | None, why: str | None) -> None:
    reason = reason_to_hold(DeletePolicy(), deletes=deletes, links=links, listed=listed)
    assert (reason is None) if why is None else (reason is not None and why in reason)


def test_an_empty_side_can_be_allowed() -> None:
    policy = DeletePolicy(refuse_if_side_empty=False, min_listing_ratio=0, max_delete_ratio=1)
    assert reason_to_hold(policy, deletes=5, links=5, listed=0) is None


def test_the_ratio_can_apply_from_the_first_delete() -> None:
    policy = DeletePolicy(ratio_applies_above=0)
    reason = reason_to_hold(policy, deletes=1, links=5, listed=None)
    assert reason is not None
    assert "max_delete_ratio=0.1" in reason
