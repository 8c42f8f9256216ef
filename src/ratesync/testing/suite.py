"""What every conformance suite is built on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, ClassVar, cast

import pytest

Test = Callable[..., object]


class Suite:
    """Tests of a contract. Who keeps the contract subclasses a suite, gives its fixtures, and may add tests.

    The tests cannot be replaced or removed: a class that has a test of the same name as one of its suites is a
    ``TypeError``. What an implementation cannot do yet stands in ``known_failures``: the test is run, must fail, and
    is reported with the reason. Once it passes, the run fails until the entry is taken out.
    """

    known_failures: ClassVar[Mapping[str, str]] = {}
    """Reasons by name of the test."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        tests: dict[str, Test] = {}
        for name, test in _own_tests(cls):
            if tests.setdefault(name, test) is not test:
                raise TypeError(
                    f"{cls.__qualname__} replaces the suite's {name}. Give your test another name; if yours cannot "
                    f"pass the suite's yet, name it in known_failures with the reason."
                )
        for name, reason in cls.known_failures.items():
            if name not in tests:
                raise TypeError(f"{cls.__qualname__}.known_failures names {name}, which is no test of the suite.")
            setattr(cls, name, _expected_to_fail(tests[name], reason))


def _own_tests(cls: type) -> Iterator[tuple[str, Test]]:
    """Each test that the class and its bases define; of those expected to fail, the one that the suite defined."""
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if name.startswith("test"):
                yield name, getattr(value, "original_test", value)


def _expected_to_fail(test: Test, reason: str) -> Test:
    """A copy of the test, as marks of the original would hold for every subclass of the suite."""
    original = cast("FunctionType", test)
    copy = FunctionType(
        original.__code__, original.__globals__, original.__name__, original.__defaults__, original.__closure__
    )
    copy.__kwdefaults__ = original.__kwdefaults__
    copy.__dict__.update(original.__dict__, original_test=original)
    copy.__qualname__ = original.__qualname__
    copy.__doc__ = original.__doc__
    return cast("Test", pytest.mark.xfail(strict=True, reason=reason)(copy))
