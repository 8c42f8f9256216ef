"""The conformance suite of queues is itself tested: it finds each of many faults, and none in a good queue."""

from __future__ import annotations

import re

import pytest

from ratesync.memory.queue import MemoryQueue
from tests.testing.queue_mutants import MUTANTS

MISTAKES = re.compile(r"(Attribute|Import|Name|Type|NotAnAttrsClass|AttrsAttributeNotFound)Error")
"""What a mutant raises that does not keep up with the queue that it breaks."""

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

SUBCLASS = """
from functools import partial

import pytest

from ratesync.testing.queue_suite import QueueSuite
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options
from {module} import {name}


class Test{name}(QueueSuite):
    crowd = 1000

    @pytest.fixture
    def anyio_backend(self):
        return virtual_backend_options("asyncio")

    @pytest.fixture
    def clock(self):
        return VirtualClock()

    @pytest.fixture
    def queue_factory(self, clock):
        return partial({name}, clock=clock)
"""


def run_suite(pytester: pytest.Pytester, queue: type[MemoryQueue], *options: str) -> pytest.RunResult:
    pytester.makepyfile(SUBCLASS.format(module=queue.__module__, name=queue.__name__))
    return pytester.runpytest_inprocess("-q", "--tb=line", "-W", "error", "-p", "no:cacheprovider", *options)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_suite_finds_the_fault(pytester: pytest.Pytester, mutant: type[MemoryQueue]) -> None:
    result = run_suite(pytester, mutant, "-x")
    assert result.parseoutcomes().get("failed") == 1
    assert not MISTAKES.search(result.stdout.str()), "the mutant itself is broken"


def test_the_suite_finds_no_fault_in_the_original(pytester: pytest.Pytester) -> None:
    outcomes = run_suite(pytester, MemoryQueue).parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] > 200


def test_there_are_many_faults() -> None:
    assert len(set(MUTANTS)) >= 30
