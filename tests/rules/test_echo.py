from __future__ import annotations

import pytest

from ratesync.model.change import Change
from ratesync.model.record import Record
from ratesync.rules.echo import is_echo

HELD = Record("1", {"name": "Ada", "tags": ["a"]}, "v2")


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
    assert is_echo(change, HELD)


@pytest.mark.parametrize(
    "change",
    [
        Change("1"),
        Change("1", "v3"),
        Change("1", "v1"),
        Change("1", None, {"name": "Ada"}),
        Change("1", "v3", {"name": "Ada", "tags": ["a", "b"]}),
        Change("1", "v2", is_deleted=True),
    ],
)
def test_what_may_be_new_is_none(change: Change) -> None:
    assert not is_echo(change, HELD)


def test_without_versions_the_content_decides() -> None:
    unversioned = Record("1", {"name": "Ada"})
    assert is_echo(Change("1", None, {"name": "Ada"}), unversioned)
    assert not is_echo(Change("1"), unversioned)
    assert not is_echo(Change("1", None, {"name": "Ada Lovelace"}), unversioned)


def test_to_python_true_is_1_but_it_is_no_echo() -> None:
    assert not is_echo(Change("1", None, {"n": True}), Record("1", {"n": 1}))


def test_a_deletion_is_an_echo_of_a_deletion_only() -> None:
    assert is_echo(Change("1", is_deleted=True), None)
    assert not is_echo(Change("1", "v2", {"name": "back again"}), None)
    assert not is_echo(Change("1"), None)
