from __future__ import annotations

from typing import Any

import pytest

from ratesync.model.conflict import FieldConflict
from ratesync.model.difference import ABSENT
from ratesync.model.held import Held
from ratesync.model.link import LinkEnd
from ratesync.model.record import Record
from ratesync.rules.link_end import confirm, end_after_create, end_after_patch, end_after_read

DEFERRED = FieldConflict("c", 0, 0, 1, 2)


def held(view: dict[str, Any], version: str | None = "2") -> Held:
    return Held(Record("r", view, version), view)


def after_patch(before: Held, patch: dict[str, Any], **told: Any) -> LinkEnd:
    end = LinkEnd("r", {"a": 0, "c": 0}, "1")
    options: dict[str, Any] = {"version": "2", "answer": None, **told}
    return end_after_patch(end, before, patch, (DEFERRED,), **options)


def test_what_is_read_and_settled_is_the_base_but_for_deferred_fields() -> None:
    assert end_after_read(LinkEnd("r", {"c": 0}), held({"a": 1, "c": 2}), (DEFERRED,)) == LinkEnd(
        "r", {"a": 1, "c": 0}, "2"
    )


def test_what_the_side_made_of_a_patch_is_its_base() -> None:
    end = after_patch(held({"a": 0}), {"a": "x"}, answer={"a": "X"})
    assert end.base == {"a": "X", "c": 0}
    assert end.version == "2"


def test_a_version_that_holds_more_than_the_patch_does_not_stand_for_the_base() -> None:
    end = after_patch(held({"a": 0, "b": 0}), {"a": 1}, answer={"a": 1, "b": 9})
    assert (end.base, end.version) == ({"a": 1, "b": 0, "c": 0}, None)


def test_a_field_that_was_null_and_is_taken_away_is_not_ours_when_the_answer_fills_it() -> None:
    """It was not sent, as it means the same to the side; somebody wrote it in between, and that must be seen."""
    end = after_patch(held({"a": None, "b": 0}), {"a": ABSENT, "b": 1}, answer={"a": "theirs", "b": 1})
    assert (end.base, end.version) == ({"a": None, "b": 1, "c": 0}, None)
    end = after_patch(held({"a": None, "b": 0}), {"a": ABSENT, "b": 1}, answer={"b": 1})
    assert (end.base, end.version) == ({"b": 1, "c": 0}, "2")


@pytest.mark.parametrize(("version", "unconfirmed"), [("2", ("a",)), (None, ())])
def test_an_answer_without_the_record_leaves_the_patch_to_be_confirmed(
    version: str | None, unconfirmed: tuple[str, ...]
) -> None:
    end = after_patch(held({"a": 0}), {"a": ABSENT}, version=version)
    assert end == LinkEnd("r", {"c": 0}, version, unconfirmed)


def test_our_own_version_confirms_what_we_wrote_and_nothing_else() -> None:
    end = LinkEnd("r", {"a": "x", "b": 0}, "2", ("a",))
    assert confirm(end, held({"a": "X", "b": 0})) == LinkEnd("r", {"a": "X", "b": 0}, "2")
    assert confirm(end, held({"a": "X", "b": 9})) == LinkEnd("r", {"a": "X", "b": 0}, None)
    assert confirm(end, held({"b": 0})) == LinkEnd("r", {"b": 0}, "2")


@pytest.mark.parametrize(
    "end",
    [
        LinkEnd("r", {"a": "x"}, "2"),
        LinkEnd("r", {"a": "x"}, "1", ("a",)),
        LinkEnd("r", None, "2", ("a",)),
        LinkEnd("r", {"a": "x"}, None, ("a",)),
    ],
)
def test_another_version_confirms_nothing(end: LinkEnd) -> None:
    assert confirm(end, held({"a": "X"})) == end


def test_what_a_side_adds_to_a_new_record_is_not_in_its_base() -> None:
    assert end_after_create("r", {"a": "x"}, version="1", answer={"a": "X", "b": 0}) == LinkEnd("r", {"a": "X"}, None)
    assert end_after_create("r", {"a": "x"}, version="1", answer={"a": "X"}) == LinkEnd("r", {"a": "X"}, "1")
    assert end_after_create("r", {"a": "x"}, version="1", answer=None) == LinkEnd("r", {"a": "x"}, "1", ("a",))
    assert end_after_create("r", {"a": "x"}, version=None, answer=None) == LinkEnd("r", {"a": "x"}, None)
