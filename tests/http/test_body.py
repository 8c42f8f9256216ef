from __future__ import annotations

import gzip
import tracemalloc
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import InvalidResponse, ResponseTooLarge
from ratesync.http.body import Gunzip

ROOM = 1_000_000


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.lists(st.binary(max_size=2_000), min_size=1, max_size=4), st.integers(1, 50))
def test_members_in_pieces_of_any_size_are_undone(members: list[bytes], size: int) -> None:
    encoded = b"".join(gzip.compress(member) for member in members)
    gunzip = Gunzip()
    body = BytesIO()
    for piece in pieces_of(encoded, size):
        gunzip.feed(piece, body, ROOM)
    gunzip.finish()
    assert body.getvalue() == b"".join(members)


@given(st.binary(min_size=1, max_size=5_000))
def test_what_fits_exactly_fits_and_one_byte_more_does_not(body: bytes) -> None:
    encoded, decoded = gzip.compress(body), BytesIO()
    Gunzip().feed(encoded, decoded, len(body))
    assert decoded.getvalue() == body
    with pytest.raises(ResponseTooLarge, match=f"{len(body) - 1} bytes"):
        Gunzip().feed(encoded, BytesIO(), len(body) - 1)


def test_the_limit_is_for_all_of_the_body() -> None:
    body = BytesIO()
    gunzip = Gunzip()
    gunzip.feed(gzip.compress(b"ab"), body, 3)
    gunzip.feed(gzip.compress(b""), body, 3)
    gunzip.feed(gzip.compress(b"c"), body, 3)
    with pytest.raises(ResponseTooLarge):
        gunzip.feed(gzip.compress(b"d"), body, 3)


@pytest.mark.parametrize("cut", [1, 10, 20])
def test_a_member_cut_off_is_noticed(cut: int) -> None:
    gunzip = Gunzip()
    gunzip.feed(gzip.compress(b"hello world")[:-cut], BytesIO(), ROOM)
    with pytest.raises(InvalidResponse, match="cut off"):
        gunzip.finish()


@pytest.mark.parametrize(
    "body", [b"hello", zlib.compress(b"hello"), gzip.compress(b"hello", mtime=0) + b"trailing garbage"]
)
def test_what_is_no_gzip_is_noticed(body: bytes) -> None:
    with pytest.raises(InvalidResponse, match="is not"):
        Gunzip().feed(body, BytesIO(), ROOM)


def test_no_bytes_are_no_member() -> None:
    Gunzip().finish()


def test_case_50_a_bomb_costs_no_more_than_its_room() -> None:
    bomb = gzip.compress(bytes(200 * ROOM))
    tracemalloc.start()
    try:
        with pytest.raises(ResponseTooLarge):
            Gunzip().feed(bomb, BytesIO(), ROOM)
        assert tracemalloc.get_traced_memory()[1] <= 2 * ROOM
    finally:
        tracemalloc.stop()
