from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.conflict import Defer, FieldConflict, Loser, Take
from ratesync.model.difference import ABSENT, Side
from ratesync.rules.merge import merge
from ratesync.rules.reconcile import Action, GoneMode, GonePolicy, Reconciliation, reconcile
from ratesync.rules.resolvers import manual, prefer

views = st.dictionaries(st.sampled_from(("a", "b")), st.sampled_from([None, "x", 0, 1, True]))
BASE = {"a": 0, "b": 0}
KNOWN = (BASE, BASE)


def decide(local: Any, external: Any, bases: Any = KNOWN, **policy: Any) -> Reconciliation:
    return reconcile(bases, local, external, prefer(Side.EXTERNAL), GonePolicy(**policy))


@pytest.mark.parametrize(
    ("local", "external", "action", "side"),
    [
        (BASE, BASE, Action.NONE, None),
        ({"a": 1, "b": 0}, BASE, Action.PUSH, Side.EXTERNAL),
        (BASE, {"a": 1, "b": 0}, Action.PULL, Side.LOCAL),
        ({"a": 1, "b": 0}, {"a": 0, "b": 1}, Action.MERGE, None),
        ({"a": 1, "b": 0}, {"a": 1, "b": 0}, Action.CONVERGE, None),
        (None, None, Action.TOMBSTONE, None),
        (BASE, None, Action.DELETE, Side.LOCAL),
        (None, BASE, Action.DELETE, Side.EXTERNAL),
        ({"a": 1, "b": 0}, None, Action.RESURRECT, Side.EXTERNAL),
        (None, {"a": 0}, Action.RESURRECT, Side.LOCAL),
    ],
)
def test_each_situation_has_its_action(local: Any, external: Any, action: Action, side: Side | None) -> None:
    found = decide(local, external)
    assert (found.action, found.side, found.losers) == (action, side, ())


@pytest.mark.parametrize(
    ("local", "external", "found"),
    [
        ({"a": 1}, None, Reconciliation(Action.CREATE, Side.EXTERNAL, to_external={"a": 1})),
        (None, {"a": 1}, Reconciliation(Action.CREATE, Side.LOCAL, to_local={"a": 1})),
        (None, None, Reconciliation(Action.NONE)),
        ({"a": 1}, {"a": 1}, Reconciliation(Action.CONVERGE)),
    ],
)
def test_what_was_never_synced_is_never_deleted(local: Any, external: Any, found: Reconciliation) -> None:
    assert decide(local, external, (None, None)) == found


@pytest.mark.parametrize(
    ("policy", "action"),
    [
        ({"mode": GoneMode.ARCHIVE, "archive": {"archived": True}}, Action.ARCHIVE),
        ({"mode": GoneMode.ARCHIVE, "archive": dict(BASE)}, Action.UNLINK),
        ({"mode": GoneMode.UNLINK}, Action.UNLINK),
        ({"mode": GoneMode.IGNORE}, Action.NONE),
        ({"applies_to": frozenset({Side.EXTERNAL})}, Action.NONE),
        ({"applies_to": frozenset({Side.LOCAL})}, Action.DELETE),
    ],
)
def test_the_policy_says_what_becomes_of_the_other_record(policy: dict[str, Any], action: Action) -> None:
    assert decide(BASE, None, **policy).action is action


def test_a_delete_that_wins_tells_the_edits_that_it_drops() -> None:
    found = decide({"a": 1}, None, edit_wins=False)
    assert found.action is Action.DELETE
    assert found.losers == (Loser("a", Side.LOCAL, 1), Loser("b", Side.LOCAL, ABSENT))


def test_without_a_base_all_that_is_deleted_is_told() -> None:
    found = decide(None, {"a": 1}, (BASE, None), edit_wins=False)
    assert (found.action, found.losers) == (Action.DELETE, (Loser("a", Side.EXTERNAL, 1),))


def test_what_is_deferred_is_no_write() -> None:
    found = reconcile(KNOWN, {"a": 1, "b": 0}, {"a": 2, "b": 0}, manual("ask"), GonePolicy())
    assert found == Reconciliation(Action.CONFLICT, deferred=(FieldConflict("a", 0, 0, 1, 2),))


@given(views | st.none(), views | st.none(), views, views, st.sampled_from([Take(Side.LOCAL), Defer("ask")]))
def test_two_that_are_there_are_merged(
    base_local: Any, base_external: Any, local: Any, external: Any, way: Any
) -> None:
    found = reconcile((base_local, base_external), local, external, lambda _conflict: way, GonePolicy())
    wanted = merge(base_local, base_external, local, external, lambda _conflict: way)
    assert (found.to_local, found.to_external) == (wanted.to_local, wanted.to_external)
    assert (found.losers, found.deferred) == (wanted.losers, wanted.deferred)
    assert (found.side is Side.LOCAL) == (bool(wanted.to_local) and not wanted.to_external)
