from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.engine.sync.link_codec import (
    decode_link,
    decode_mark,
    encode_link,
    encode_mark,
    pack,
    pack_resolution,
    unpack,
    unpack_resolution,
)
from ratesync.errors import CorruptItem, InvalidPayload, NewerFormat
from ratesync.model.conflict import Defer, Loser, SetValue, Take
from ratesync.model.difference import ABSENT, NOT_KNOWN, Side
from ratesync.model.intent import Creating, Decided, Deleting, Intent
from ratesync.model.link import LinkEnd, LinkStatus, RecordLink
from ratesync.model.mark import Lack, Mark

names = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
views = st.dictionaries(names, values, max_size=3)
patches = st.dictionaries(names, values | st.just(ABSENT), max_size=3)
sides = st.sampled_from(Side)
losers = st.lists(st.builds(Loser, names, sides, values | st.just(ABSENT)), max_size=2).map(tuple)
texts = st.none() | names
ends = st.builds(LinkEnd, texts, st.none() | views, texts, st.lists(names, max_size=2).map(tuple))
steps: Any = st.one_of(
    st.builds(Decided, patches, views, views, losers, st.none() | patches, st.none() | patches),
    st.builds(Creating, sides, views, texts, texts, st.floats(0, 1e9)),
    st.builds(Deleting, sides, texts, views, losers),
)
intents = st.builds(Intent, names, names, st.floats(0, 1e9), st.floats(0, 1e9), steps)
links = st.builds(
    RecordLink,
    names,
    ends,
    ends,
    st.sampled_from(LinkStatus),
    st.none() | intents,
    st.dictionaries(names, names, max_size=2),
    st.dictionaries(names, st.just({"of": "x", "as": {"take": "local"}}), max_size=1),
    trouble=names,
    gone_on=st.none() | sides,
    hold_reason=names,
    writes=st.lists(st.tuples(st.floats(0, 1e9), names, names), max_size=2).map(tuple),
    seen=st.dictionaries(sides, ends, max_size=2),
)


@settings(max_examples=30)  # each example has them all: a field that is not told shows in the first few
@given(links)
def test_a_link_comes_back_as_it_was(link: RecordLink) -> None:
    data = encode_link(link)
    assert decode_link(data) == link
    assert encode_link(decode_link(data)) == data


@pytest.mark.parametrize("value", [ABSENT, NOT_KNOWN, None, "", [], {}, 0, False, [[]], {"v": None}])
def test_absent_not_known_and_null_are_three_values(value: Any) -> None:
    packed = json.loads(json.dumps(pack(value)))
    assert unpack(packed) == value
    assert type(unpack(packed)) is type(value)


@pytest.mark.parametrize("resolution", [Take(Side.LOCAL), SetValue(ABSENT), SetValue([1]), Defer("ask")])
def test_a_resolution_comes_back_as_it_was(resolution: Any) -> None:
    assert unpack_resolution(json.loads(json.dumps(pack_resolution(resolution)))) == resolution


@pytest.mark.parametrize(
    "mark", [Mark(Side.LOCAL, "1", 3), Mark(Side.EXTERNAL, "2", 1, ("k",), (Lack("a", Side.LOCAL, "3"),))]
)
def test_a_mark_comes_back_as_it_was(mark: Mark) -> None:
    assert decode_mark(encode_mark(mark), mark.side, mark.record_id, mark.revision) == mark


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b'{"v":0}', b'{"v":"1"}', b'{"v":1}', b'{"v":1,"id":1}'])
def test_damaged_bytes_are_told(data: bytes) -> None:
    with pytest.raises(CorruptItem):
        decode_link(data)


def test_bytes_of_a_newer_version_are_told() -> None:
    with pytest.raises(NewerFormat):
        decode_link(b'{"v":2}')


def test_what_is_not_json_is_told_without_its_value() -> None:
    with pytest.raises(InvalidPayload) as raised:
        encode_link(RecordLink("k", LinkEnd("1", {"secret": object()})))
    assert "secret" not in str(raised.value)
