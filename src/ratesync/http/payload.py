"""JSON bodies: strict both ways, so that nothing odd gets in or out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, cast

from ratesync.errors import InvalidPayload, InvalidResponse

MAX_DEPTH = 64
"""Deepest nesting of lists and objects that is read, as for submitted fields."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, ended or cut off: it always matches where it begins, so the search takes linear time on any input."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_SQUARE = bytes.maketrans(b"{}", b"[]")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode


def encode_json(value: Any) -> bytes:
    """The value as JSON in UTF-8.

    :raises InvalidPayload: it holds what JSON has no form for (NaN, a lone surrogate, a datetime ...).
    """
    try:
        return _encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"cannot be written as JSON ({type(error).__name__})"
    raise InvalidPayload(problem, path="body")


def decode_json(body: bytes) -> Any:
    """The value of a JSON body. A byte order mark is skipped; of equal names in an object the last one counts.

    :raises InvalidResponse: not UTF-8, not JSON, or in it NaN, a number beyond floats, half a surrogate pair or a
        nesting deeper than :data:`MAX_DEPTH`.
    """
    if _depth_exceeds(body, MAX_DEPTH):
        raise InvalidResponse(f"the answer is nested more than {MAX_DEPTH} deep, or cut off")
    try:
        value = _decode(body.decode("utf-8-sig"))
        if _SURROGATE.search(body):
            _encode(value).encode()  # fails for half a pair, which no UTF-8 and so no store could hold
        return value
    except (ValueError, RecursionError) as error:
        problem = type(error).__name__
    # Raised here so that the broken text is not part of the error's context.
    raise InvalidResponse(f"the answer of {len(body)} bytes is not JSON in UTF-8 ({problem})")


def json_object(value: Any) -> dict[str, Any] | None:
    """The value if it is a JSON object, else None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def json_array(value: Any) -> Sequence[Any]:
    """The value if it is a JSON array, else an empty one."""
    return cast("Sequence[Any]", value) if isinstance(value, list) else ()


def _depth_exceeds(body: bytes, depth: int) -> bool:
    """Tell whether brackets are nested deeper than ``depth``, without recursion and without decoding."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    brackets = _STRING.sub(b"", body).translate(_SQUARE, _NO_BRACKETS)
    for _ in range(depth):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return b"[" in brackets
