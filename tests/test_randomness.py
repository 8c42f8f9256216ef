"""Operation ids are UUIDs of version 7 (RFC 9562, section 5.7)."""

from __future__ import annotations

import random
import uuid

from hypothesis import given
from hypothesis import strategies as st

from ratesync.randomness import operation_id, system_random

NOW = 1_700_000_000.123
instants = st.floats(0, 2**40 / 1000)
seeds = st.integers(0, 2**32)


@given(instants, seeds)
def test_an_id_has_the_layout_of_a_uuid_7(now: float, seed: int) -> None:
    text = operation_id(now, random.Random(seed))
    found = uuid.UUID(hex=text)
    assert text == found.hex
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == int(now * 1000)  # 48 bits: milliseconds since the epoch


@given(instants, instants, seeds)
def test_ids_sort_by_time(one: float, other: float, seed: int) -> None:
    source = random.Random(seed)
    earlier, later = sorted((one, other))
    if int(earlier * 1000) < int(later * 1000):
        assert operation_id(earlier, source) < operation_id(later, source)


def test_ids_of_one_instant_are_unique() -> None:
    source = random.Random(0)
    assert len({operation_id(NOW, source) for _ in range(100_000)}) == 100_000


def test_every_bit_but_time_version_and_variant_is_random() -> None:
    source = random.Random(0)
    numbers = [int(operation_id(NOW, source), 16) for _ in range(200)]
    differing = 0
    for number in numbers:
        differing |= number ^ numbers[0]
    assert differing == (0xFFF << 64) | ((1 << 62) - 1)


def test_the_same_generator_gives_the_same_ids_again() -> None:
    assert operation_id(NOW, random.Random(5)) == operation_id(NOW, random.Random(5))


def test_system_generators_differ() -> None:
    assert system_random().getrandbits(128) != system_random().getrandbits(128)
