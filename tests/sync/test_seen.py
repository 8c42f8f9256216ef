"""What a listing named is remembered, however much it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratesync.engine.sync.seen import Seen

ids = st.lists(st.text(max_size=8), max_size=12)


@given(st.lists(ids | st.none(), max_size=6), ids)
def test_it_is_a_set(pages: list[list[str] | None], asked: list[str]) -> None:
    """None: it is forgotten."""
    known: set[str] = set()
    with Seen() as seen:
        for page in pages:
            if page is None:
                known.clear()
                seen.forget()
            else:
                known.update(page)
                seen.add(page)
        assert len(seen) == len(known)
        assert seen.lacking(asked) == [each for each in asked if each not in known]


def test_more_than_a_query_takes() -> None:
    names = [str(number) for number in range(40_000)]
    with Seen() as seen:
        seen.add(names[::2])
        assert len(seen) == 20_000
        assert seen.lacking(names) == names[1::2]


def test_two_listings_know_nothing_of_each_other() -> None:
    with Seen() as one, Seen() as other:
        one.add(["a"])
        assert other.lacking(["a"]) == ["a"]
        other.add(["b"])
        assert one.lacking(["a", "b"]) == ["b"]
