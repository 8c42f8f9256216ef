from __future__ import annotations

import pytest

from ratesync.testing.suite import Suite

pytest_plugins = ["pytester"]

PASSING_AND_FAILING = """
from ratesync.testing.suite import Suite

class NumberSuite(Suite):
    def test_is_positive(self, number):
        assert number > 0

    def test_is_even(self, number):
        assert number % 2 == 0
"""


class SmallSuite(Suite):
    def test_one(self) -> None:
        pass


class OtherSuite(Suite):
    def test_two(self) -> None:
        pass


def test_a_suite_may_be_extended_and_combined() -> None:
    class Combined(SmallSuite, OtherSuite):
        def test_three(self) -> None:
            pass

    assert {name for name in dir(Combined) if name.startswith("test_")} == {"test_one", "test_two", "test_three"}


@pytest.mark.parametrize("replacement", [lambda: None, None])
def test_replacing_or_removing_a_test_is_an_error(replacement: object) -> None:
    with pytest.raises(TypeError, match="replaces the suite's test_one"):
        type("Sub", (SmallSuite,), {"test_one": replacement})


def test_a_base_class_cannot_replace_a_test_either() -> None:
    replacement = type("Mixin", (), {"test_one": lambda: None})
    with pytest.raises(TypeError, match="test_one"):
        type("Sub", (replacement, SmallSuite), {})


def test_a_known_failure_must_be_a_test() -> None:
    with pytest.raises(TypeError, match=r"known_failures names test_nine"):
        type("Sub", (SmallSuite,), {"known_failures": {"test_nine": "never was"}})


def test_a_known_failure_is_inherited() -> None:
    parent = type("Parent", (SmallSuite,), {"known_failures": {"test_one": "reason"}})
    child = type("Child", (parent,), {})
    assert vars(child)["test_one"].pytestmark[0].kwargs == {"strict": True, "reason": "reason"}
    assert not hasattr(SmallSuite.test_one, "pytestmark")


def run(pytester: pytest.Pytester, subclass: str) -> pytest.RunResult:
    pytester.makepyfile(number_suite=PASSING_AND_FAILING)
    pytester.makepyfile(test_numbers=f"import pytest\nfrom number_suite import NumberSuite\n{subclass}")
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rx")


def test_a_known_failure_is_reported_with_its_reason(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
class TestThree(NumberSuite):
    known_failures = {"test_is_even": "three is odd"}
    number = pytest.fixture(lambda self: 3)
""",
    )
    result.assert_outcomes(passed=1, xfailed=1)
    result.stdout.fnmatch_lines(["*three is odd*"])


def test_a_known_failure_that_passes_fails_the_run(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
class TestFour(NumberSuite):
    known_failures = {"test_is_even": "four is odd"}
    number = pytest.fixture(lambda self: 4)
""",
    )
    result.assert_outcomes(passed=1, failed=1)


def test_failures_of_shipped_suites_show_the_values(pytester: pytest.Pytester) -> None:
    """Pytest rewrites assertions of test files only, unless it is asked to before the import."""
    pytester.makepyfile(
        test_store="""
import pytest
from ratesync.memory.state import MemoryStateStore
from ratesync.model.stored import Stored
from ratesync.testing.state_suite import StateStoreSuite

class Forgetful(MemoryStateStore):
    async def load(self, keys):
        await super().load(keys)
        return [Stored("a", b"surprise", 1)]

class TestForgetful(StateStoreSuite):
    store = pytest.fixture(lambda self: Forgetful())
    anyio_backend = pytest.fixture(lambda self: "asyncio")
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-x", "-k", "stay_when_it_is_closed")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*surprise*"])
