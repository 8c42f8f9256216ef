"""What the strategies give is what ratesync accepts, and all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import Phase, find, given, settings

from ratesync import Capabilities, CreateIdentity, Kind, Lane, Operation, Outcome, PayloadLimits
from ratesync.codec import decode_operation, decode_outcome, encode_operation, encode_outcome
from ratesync.rules.admissible import check_operation
from ratesync.testing import strategies

ABLE = {"acme": Capabilities()}


@given(strategies.operations())
def test_operations_are_admissible_and_survive_the_codec(operation: Operation) -> None:
    check_operation(operation, ABLE, PayloadLimits(), "operation")
    read = decode_operation(encode_operation(operation), operation.lane, "id")
    assert read == evolve(operation, id="id", idempotency_key=operation.idempotency_key or "id")


@given(strategies.outcomes())
def test_outcomes_survive_the_codec(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


@given(strategies.quotas(), strategies.capabilities(), strategies.lanes(["acme"]))
def test_quotas_capabilities_and_lanes_are_valid(quota: Any, able: Capabilities, lane: Lane) -> None:
    assert quota.permits >= 1
    assert able.kinds
    assert lane.provider == "acme"


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_operation_is_given(kind: Kind) -> None:
    assert_found(strategies.operations(), lambda operation: operation.kind is kind)


@pytest.mark.parametrize("identity", CreateIdentity)
def test_every_create_identity_is_given(identity: CreateIdentity) -> None:
    assert_found(strategies.capabilities(), lambda able: able.create_identity is identity)


def assert_found(strategy: Any, wanted: Callable[[Any], bool]) -> None:
    quick = settings(max_examples=500, phases=[Phase.generate], database=None)
    assert wanted(find(strategy, wanted, settings=quick))
