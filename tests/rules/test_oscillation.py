from __future__ import annotations

import pytest

from ratesync.rules.oscillation import OscillationPolicy, is_oscillating

POLICY = OscillationPolicy(max_writes=2, per=10.0)


@pytest.mark.parametrize(
    ("writes_at", "edited_at", "is_held"),
    [
        ((), None, False),
        ((95.0, 96.0), None, False),
        ((95.0, 96.0, 97.0), None, True),
        ((90.0, 96.0, 97.0), None, False),
        ((95.0, 96.0, 97.0), 94.0, True),
        ((95.0, 96.0, 97.0), 95.0, False),
        ((95.0, 96.0, 97.0), 99.0, False),
    ],
)
def test_only_our_own_writes_with_no_edit_between_are_held(
    writes_at: tuple[float, ...], edited_at: float | None, is_held: bool
) -> None:
    assert is_oscillating(POLICY, writes_at, edited_at, 100.0) is is_held
