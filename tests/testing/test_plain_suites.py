"""The suites of transformers and observers accept what keeps the contract, and notice what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, get_args

import pytest

from ratesync import Fields, Kind, Transformer
from ratesync.model.event import Event
from ratesync.protocols import Observer
from ratesync.testing.observer_suite import SAMPLES, ObserverSuite
from ratesync.testing.transformer_suite import TransformerSuite


class Renaming:
    """``email`` here is ``mail`` there."""

    def to_external(self, fields: Fields, kind: Kind) -> Fields:
        return {"mail" if name == "email" else name: value for name, value in fields.items()}

    def to_local(self, fields: Fields) -> Fields:
        return {"email" if name == "mail" else name: value for name, value in fields.items()}


class TestRenaming(TransformerSuite):
    @pytest.fixture
    def transformer(self) -> Transformer:
        return Renaming()

    @pytest.fixture
    def local_samples(self) -> list[Fields]:
        return [{}, {"email": "ada@example.org", "tags": ["a"]}]

    @pytest.fixture
    def external_samples(self) -> list[Fields]:
        return [{}, {"mail": "ada@example.org"}]


class TestAppending(ObserverSuite):
    @pytest.fixture
    def observer(self) -> Observer:
        seen: list[Event] = []
        return seen.append


def test_there_is_a_sample_of_every_event() -> None:
    assert {type(event) for event in SAMPLES} == set(get_args(Event))


class Mutating(Renaming):
    def to_external(self, fields: Any, kind: Kind) -> Fields:
        fields.pop("tags", None)
        return super().to_external(fields, kind)


class Counting(Renaming):
    calls = 0

    def to_external(self, fields: Fields, kind: Kind) -> Fields:
        self.calls += 1
        return {**fields, "calls": self.calls}


class Unsendable(Renaming):
    def to_external(self, fields: Fields, kind: Kind) -> Fields:
        return {**fields, "tags": {1, 2}}


class ListGiving(Renaming):
    def to_local(self, fields: Fields) -> Any:
        return list(fields.items())


SUITE, SAMPLE = TestRenaming(), [{"email": "ada@example.org", "tags": ["a"]}]
TRANSFORMER_FAULTS: dict[type, Callable[[Any], None]] = {
    Mutating: lambda one: SUITE.test_what_goes_out_is_not_the_hosts_own_object_changed(one, SAMPLE, Kind.UPDATE),
    Counting: lambda one: SUITE.test_a_second_attempt_sends_the_same(one, SAMPLE, Kind.UPDATE),
    Unsendable: lambda one: SUITE.test_what_goes_out_can_be_sent(one, SAMPLE, Kind.CREATE),
    ListGiving: lambda one: SUITE.test_what_comes_in_is_a_record_and_the_same_each_time(one, SAMPLE),
    object: SUITE.test_it_keeps_the_protocol,
}


@pytest.mark.parametrize("fault", TRANSFORMER_FAULTS, ids=lambda fault: fault.__name__)
def test_a_faulty_transformer_is_noticed(fault: type) -> None:
    with pytest.raises(Exception, match=r".*"):
        TRANSFORMER_FAULTS[fault](fault())


async def waiting(event: Event) -> None:
    await asyncio.sleep(0)


def only_here(event: Event) -> None:
    asyncio.get_running_loop()


@pytest.mark.parametrize("fault", [waiting, 5, lambda: None], ids=["async", "number", "no argument"])
def test_an_observer_of_a_wrong_form_is_noticed(fault: Any) -> None:
    with pytest.raises(Exception, match="observer"):
        ObserverSuite().test_it_keeps_the_protocol(fault)


def test_an_observer_that_raises_is_noticed() -> None:
    with pytest.raises(RuntimeError):
        ObserverSuite().test_it_takes_every_event(only_here, SAMPLES[0])


def test_an_observer_bound_to_its_thread_is_noticed() -> None:
    with pytest.raises(AssertionError):
        ObserverSuite().test_it_may_be_called_from_another_thread(only_here)
