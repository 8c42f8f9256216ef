"""Running the tests of a suite without pytest, to see which of them an adapter fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import pytest

Fixtures = Callable[[], Mapping[str, Any]]
"""Makes the fixtures, new for each test."""


def cases(test: Callable[..., object]) -> Iterator[dict[str, Any]]:
    """The arguments that the test's own parametrisation gives."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    names = [mark.args[0] for mark in marks]
    for values in product(*(mark.args[1] for mark in marks)):
        yield dict(zip(names, values, strict=True))


async def fails(suite: type, name: str, fixtures: Fixtures) -> bool:
    """Whether the suite's test of that name fails in one of its cases."""
    test = getattr(suite(), name)
    wanted = inspect.signature(test).parameters
    for case in cases(test):
        values = {**fixtures(), **case}
        try:
            await test(**{parameter: values[parameter] for parameter in wanted})
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception):  # noqa: BLE001  any failure counts
            return True
    return False


def names_of(suite: type) -> list[str]:
    """The names of its tests."""
    return [name for name, _ in inspect.getmembers(suite, inspect.iscoroutinefunction) if name.startswith("test")]
