from __future__ import annotations

import json
import math
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import InvalidPayload, InvalidResponse
from ratesync.http.payload import MAX_DEPTH, decode_json, encode_json, json_array, json_object

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_written_is_read(value: Any) -> None:
    assert decode_json(encode_json(value)) == value


def nested(depth: int) -> bytes:
    return b'{"a":[' * (depth // 2) + b"[]" * (depth % 2) + b"]}" * (depth // 2)


@pytest.mark.parametrize("depth", [1, 2, 63, 64])
def test_nesting_up_to_the_cap_is_read(depth: int) -> None:
    assert decode_json(nested(depth)) == json.loads(nested(depth))


@pytest.mark.parametrize("depth", [65, 66, 1_000, 100_000])
def test_case_67_deeper_nesting_is_refused(depth: int) -> None:
    with pytest.raises(InvalidResponse, match=f"more than {MAX_DEPTH} deep"):
        decode_json(nested(depth))


def test_brackets_in_strings_are_no_nesting() -> None:
    value: dict[str, Any] = {"text": '[{"\\' * 200, '[[[["': ["]", "\\", '"'] * 50, "many": [[]] * 200}
    assert decode_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body", [b'"' * 400_000, b'"' + b'\\"' * 200_000, b'"\\' * 200_000, b'["' * 200_000, b"[" + b'\\"' * 200_000]
)
def test_no_input_takes_the_bracket_scan_more_than_linear_time(body: bytes) -> None:
    started_at = time.process_time()
    with pytest.raises(InvalidResponse):
        decode_json(b"[" * 65 + body)
    assert time.process_time() - started_at < 2, "quadratic time would be minutes"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": 1}x',
        b"<html></html>",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"[-1e999]",
        b'{"name": "\xff"}',
        b'"\\ud800"',
        b'{"\\uDFFF": 1}',
        "[]".encode("utf-16"),
        b"[" * 70,
    ],
)
def test_case_49_what_is_not_strict_json_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        decode_json(body)


def test_case_67_a_number_of_too_many_digits_is_refused() -> None:
    with pytest.raises(InvalidResponse):
        decode_json(b"9" * (sys.get_int_max_str_digits() + 1))


def test_a_whole_surrogate_pair_is_read() -> None:
    assert decode_json(b'"\\ud83d\\ude00"') == "😀"


def test_a_byte_order_mark_is_skipped() -> None:
    assert decode_json(b"\xef\xbb\xbf[1]") == [1]


def test_the_broken_text_is_not_part_of_the_error() -> None:
    with pytest.raises(InvalidResponse) as caught:
        decode_json(b'{"token": "s3cr3t"')
    assert caught.value.__context__ is None
    assert "s3cr3t" not in str(caught.value)


cycle: list[Any] = []
cycle.append(cycle)


@pytest.mark.parametrize(
    "value",
    [{"a": math.nan}, [math.inf], {"a": {1, 2}}, {"a": datetime.now(UTC)}, {"a": b"x"}, {(1, 2): 3}, "\ud800", cycle],
)
def test_what_json_cannot_say_is_an_invalid_payload(value: Any) -> None:
    with pytest.raises(InvalidPayload, match="cannot be written as JSON") as caught:
        encode_json(value)
    assert caught.value.__context__ is None


def test_text_is_sent_as_utf8() -> None:
    assert encode_json({"name": "Ада 😀"}) == '{"name":"Ада 😀"}'.encode()


def test_objects_and_arrays_are_told_apart() -> None:
    assert json_object({"a": 1}) == {"a": 1}
    assert json_object([1]) is None
    assert json_array([1]) == [1]
    assert list(json_array({"a": 1})) == []
