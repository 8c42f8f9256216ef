from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ratesync.model.change import Change
from ratesync.model.difference import Side
from ratesync.model.link import LinkEnd, LinkStatus, RecordLink
from ratesync.rules.echo import is_echo

LINK = RecordLink("k", LinkEnd("7", {}, "1"), LinkEnd("1", {"name": "Ada", "tags": ["a"]}, "v2"))


def echoes(change: Change, link: RecordLink = LINK) -> bool:
    view: Any = change.fields
    return is_echo(change, view, Side.EXTERNAL, link)


@pytest.mark.parametrize(
    "change",
    [
        Change("1", "v2"),
        Change("1", "v2", {"name": "as it was before the answer"}),
        Change("1", None, {"name": "Ada", "tags": ["a"]}),
        Change("1", 'W/"v2"', {"tags": ["a"], "name": "Ada"}),
    ],
)
def test_what_is_known_is_an_echo(change: Change) -> None:
    assert echoes(change)


@pytest.mark.parametrize(
    "change",
    [
        Change("1"),
        Change("1", "v3"),
        Change("1", "v1"),
        Change("1", None, {"name": "Ada"}),
        Change("1", "v3", {"name": "Ada", "tags": ["a", "b"]}),
        Change("1", "v2", is_deleted=True),
        Change("1", None, {"name": "Ada", "tags": [True]}),
    ],
)
def test_what_may_be_new_is_none(change: Change) -> None:
    assert not echoes(change)


def test_without_versions_the_content_decides() -> None:
    link = evolve(LINK, external=LinkEnd("1", {"name": "Ada"}))
    assert echoes(Change("1", None, {"name": "Ada"}), link)
    assert not echoes(Change("1"), link)
    assert not echoes(Change("1", None, {"name": "Ada Lovelace"}), link)


def test_a_version_of_ours_that_is_not_confirmed_must_be_read() -> None:
    link = evolve(LINK, external=evolve(LINK.external, unconfirmed=("name",)))
    assert not echoes(Change("1", "v2"), link)


def test_with_an_open_conflict_going_back_to_the_base_is_news() -> None:
    link = evolve(LINK, deferred={"name": "digest"})
    assert not echoes(Change("1", "v3", {"name": "Ada", "tags": ["a"]}), link)
    assert echoes(Change("1", "v2"), link)


def test_without_a_base_nothing_is_known() -> None:
    assert not echoes(Change("1", "v2"), evolve(LINK, external=LinkEnd("1", None, "v2")))


def test_a_deletion_is_an_echo_of_a_deletion_only() -> None:
    buried = evolve(LINK, status=LinkStatus.TOMBSTONE, external=LinkEnd("1", None, "v2"))
    assert echoes(Change("1", is_deleted=True), buried)
    assert not echoes(Change("1", "v2", {"name": "back again"}), buried)
    assert not echoes(Change("1"), buried)


@pytest.mark.parametrize("change", [Change("1"), Change("1", "v3", {"name": "Bob"}), Change("1", is_deleted=True)])
def test_of_a_record_that_is_left_alone_nothing_is_news(change: Change) -> None:
    assert echoes(change, evolve(LINK, status=LinkStatus.UNLINKED))


ASIDE = evolve(LINK, status=LinkStatus.QUARANTINED, seen={Side.EXTERNAL: LinkEnd("1", {"name": "Eve"}, "v9")})


@pytest.mark.parametrize("change", [Change("1", "v9"), Change("1", None, {"name": "Eve"})])
def test_what_was_seen_when_a_link_was_set_aside_is_no_news(change: Change) -> None:
    assert echoes(change, ASIDE)
    assert echoes(change, evolve(ASIDE, status=LinkStatus.ACTIVE))


@pytest.mark.parametrize("change", [Change("1", "v2"), Change("1"), Change("1", "v9", is_deleted=True)])
def test_all_else_is_news_of_it(change: Change) -> None:
    assert not echoes(change, ASIDE)


def test_what_was_gone_then_is_news_when_it_is_there_and_no_news_when_it_is_gone() -> None:
    link = evolve(ASIDE, seen={Side.LOCAL: LinkEnd("7", {}, "1")})
    assert echoes(Change("1", is_deleted=True), link)
    assert not echoes(Change("1", "v2"), link)
