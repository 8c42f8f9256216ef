"""The limiters' conformance suite is itself tested: it must find each of many faults, and none in a good limiter."""

from __future__ import annotations

import re

import pytest

from ratesync.memory.limiter import MemoryLimiter
from tests.testing import limiter_line_mutants, limiter_mutants
from tests.testing.limiter_line_mutants import GivingUp
from tests.testing.limiter_mutants import Mutant

MUTANTS = limiter_mutants.MUTANTS + limiter_line_mutants.MUTANTS

MISTAKES = re.compile(r"(Attribute|Import|Name|Type|Value|NotAnAttrsClass|AttrsAttributeNotFound)Error")
"""What a mutant raises that does not keep up with the limiter that it breaks."""

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

SUBCLASS = """
import pytest

from ratesync.testing.limiter_suite import LimiterSuite
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options
from {module} import {name}


class Test{name}(LimiterSuite):
    @pytest.fixture
    def anyio_backend(self):
        return virtual_backend_options("asyncio")

    @pytest.fixture
    def clock(self):
        return VirtualClock()

    @pytest.fixture
    def limiter(self, clock):
        return {name}(clock=clock)
"""


def run_suite(pytester: pytest.Pytester, limiter: type[MemoryLimiter], *options: str) -> pytest.RunResult:
    pytester.makepyfile(SUBCLASS.format(module=limiter.__module__, name=limiter.__name__))
    return pytester.runpytest_inprocess("-q", "--tb=line", "-W", "error", "-p", "no:cacheprovider", *options)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_suite_finds_the_fault(pytester: pytest.Pytester, mutant: type[MemoryLimiter]) -> None:
    result = run_suite(pytester, mutant, "-x")
    assert result.parseoutcomes().get("failed") == 1
    assert not MISTAKES.search(result.stdout.str()), "the mutant itself is broken"


@pytest.mark.parametrize("original", [Mutant, GivingUp])
def test_the_suite_finds_no_fault_in_the_original(pytester: pytest.Pytester, original: type[MemoryLimiter]) -> None:
    outcomes = run_suite(pytester, original).parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] > 60


def test_there_are_many_faults() -> None:
    assert len(MUTANTS) >= 30
