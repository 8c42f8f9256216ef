"""The laws, and mistakes in mappings that they must find."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import find
from hypothesis import strategies as st

from ratesync.mapping import Codec, Computed, Field, FirstOf
from ratesync.mapping import Mapping as Lens
from ratesync.mapping.codecs import blank_is_none, choice, decimal, items, number, text
from ratesync.mapping.ready import hubspot, pipedrive, salesforce
from ratesync.rules.merge_patch import diff
from ratesync.testing import assert_lens_laws
from ratesync.testing.lens_strategies import EXTRA, records_of, views_of
from tests.mapping.contact import CONTACT, NULL, RECORDS, VIEWS, WORDS, some, unmapped, within

Data = dict[str, Any]


def test_a_mapping_with_every_kind_of_line_is_lawful() -> None:
    assert_lens_laws(CONTACT, external=RECORDS, view=VIEWS, put_put=True, unmapped=unmapped, max_examples=150)


def test_a_mapping_that_passes_the_unknown_through_is_lawful() -> None:
    lens = Lens(Field("email", "data.email"), FirstOf("phone", "phones"), passthrough=True)
    records = some(data=NULL | some(email=WORDS, b=WORDS), email=WORDS, extra=NULL | WORDS, phones=st.lists(WORDS))
    views = some(email=NULL | WORDS, phone=NULL | WORDS, extra=NULL | WORDS, other=st.lists(WORDS))
    assert_lens_laws(
        lens, external=records, view=views, put_put=True, unmapped=lambda record: within(record, "data").get("b")
    )


def test_a_server_that_spells_in_its_own_way_is_read_back() -> None:
    def echo(record: Data) -> Data:
        return {name: f" {value.upper()}" if isinstance(value, str) else value for name, value in record.items()}

    ascii_words = st.text(st.characters(codec="ascii"), max_size=5)
    records, views = some(email=NULL | ascii_words), some(email=NULL | ascii_words)
    tidy = Lens(Field("email", "email", text(strip=True, case="lower")))
    assert_lens_laws(tidy, external=records, view=views, echo=echo)
    with pytest.raises(AssertionError, match="Provider"):
        assert_lens_laws(Lens(Field("email", "email", text())), external=records, view=views, echo=echo)


class Naive:
    """A mapping of one field as one writes it in a hurry."""

    def __init__(
        self, get: Callable[[Data], Data], put: Callable[[Data, Data], Data], canon: Callable[[Any], Any] = dict
    ) -> None:
        self._get = get
        self._put = put
        self._canon = canon

    def get(self, record: Mapping[str, Any]) -> Data:
        return self._get(dict(record))

    def put(self, record: Mapping[str, Any], view: Mapping[str, Any]) -> Data:
        return self._put(dict(record), dict(view))

    def create(self, view: Mapping[str, Any]) -> Data:
        return self._put({}, dict(view))

    def patch(self, record: Mapping[str, Any], view: Mapping[str, Any]) -> Data:
        return diff(record, self._put(dict(record), self._get(dict(record)) | dict(view)))

    def canon(self, view: Mapping[str, Any]) -> Data:
        canonical: Data = self._canon(dict(view))
        return canonical


def rewrites_case() -> None:
    """Lower case on the way in, and nothing that remembers the provider's spelling."""
    lens = Naive(lambda record: {"email": record["email"].lower()}, lambda record, view: record | view)
    one = st.fixed_dictionaries({"email": WORDS})
    assert_lens_laws(lens, external=one, view=one)


def lower_case_that_canon_does_not_know() -> None:
    lens = Lens(Field("email", "email", Codec(encode=str.lower)))
    assert_lens_laws(lens, external=some(email=WORDS), view=some(email=WORDS))


def drops_the_tail_of_a_list() -> None:
    lens = Naive(
        lambda record: {"phone": next(iter(record["phones"]), None)},
        lambda record, view: record | {"phones": [] if view["phone"] is None else [view["phone"]]},
    )
    records = st.fixed_dictionaries({"phones": st.lists(WORDS)})
    assert_lens_laws(lens, external=records, view=st.fixed_dictionaries({"phone": NULL | WORDS}))


def clearing_the_head_moves_the_next_up() -> None:
    lens = Naive(
        lambda record: {"phone": next(iter(record.get("phones", [])), None)},
        lambda record, view: (
            record
            | {
                "phones": ([] if view["phone"] is None else [view["phone"]]) + record.get("phones", [])[1:],
            }
        ),
    )
    records = st.fixed_dictionaries({"phones": st.lists(WORDS)})
    assert_lens_laws(lens, external=records, view=st.fixed_dictionaries({"phone": NULL | WORDS}))


def cents_by_way_of_a_float() -> None:
    lens = Lens(
        Field("price", "cents", Codec(lambda cents: f"{cents / 100:.2f}", lambda price: int(float(price) * 100)))
    )
    prices = st.decimals(0, 10, places=2).map(str)
    assert_lens_laws(lens, external=some(cents=st.integers(0, 999)), view=some(price=prices))


def cuts_what_canon_does_not_cut() -> None:
    lens = Lens(Field("note", "note", Codec(encode=lambda note: note[:3])))
    assert_lens_laws(lens, external=some(note=WORDS), view=some(note=WORDS))


def takes_null_for_missing() -> None:
    lens = Naive(
        lambda record: {} if record.get("a") is None else {"a": record["a"]},
        lambda record, view: {name: value for name, value in (record | view).items() if value is not None},
    )
    assert_lens_laws(lens, external=some(a=NULL | WORDS), view=some(a=NULL | WORDS))


def a_canon_that_changes_each_time() -> None:
    lens = Lens(Field("note", "note", Codec(canon=lambda note: f"{note}!")))
    assert_lens_laws(lens, external=some(note=WORDS), view=some(note=WORDS))


def changes_the_record_it_is_given() -> None:
    class Changing(Naive):
        def put(self, record: Mapping[str, Any], view: Mapping[str, Any]) -> Data:
            cast("Data", record).update(view)
            return dict(record)

    lens = Changing(lambda record: {"a": record.get("a")}, lambda record, view: record | view)
    one = st.fixed_dictionaries({"a": WORDS})
    assert_lens_laws(lens, external=one, view=one)


def loses_what_is_not_mapped() -> None:
    lens = Naive(lambda record: {"a": record["a"]}, lambda record, view: {"a": view["a"], "b": "" if record else None})
    records = st.fixed_dictionaries({"a": WORDS, "b": st.just("")}) | st.fixed_dictionaries({"a": WORDS, "b": WORDS})
    assert_lens_laws(
        lens,
        external=records.filter(lambda record: record["b"] == "") | records,
        view=st.fixed_dictionaries({"a": WORDS}),
        unmapped=lambda record: record.get("b"),
    )


def remembers_the_first_of_two_writes() -> None:
    lens = Naive(
        lambda record: {"a": record["a"]},
        lambda record, view: (
            {**record, **view, "log": [*record.get("log", []), view["a"]]} if record.get("a") != view["a"] else record
        ),
    )
    one = st.fixed_dictionaries({"a": WORDS})
    assert_lens_laws(lens, external=one, view=one, put_put=True, unmapped=lambda record: len(record.get("log", [])) > 1)


@pytest.mark.parametrize(
    ("mistake", "law", "example"),
    [
        (rewrites_case, "GetPut", r"\{'email': 'A'\}"),
        (lower_case_that_canon_does_not_know, "PutGet", r"\{'email': 'A'\}"),
        (drops_the_tail_of_a_list, "GetPut", r"\['', ''\]"),
        (clearing_the_head_moves_the_next_up, "PutGet", r"\['', ''\]"),
        (cents_by_way_of_a_float, "GetPut|PutGet|CreateGet", "29|price"),
        (cuts_what_canon_does_not_cut, "PutGet", "0000"),
        (takes_null_for_missing, "GetPut", "None"),
        (a_canon_that_changes_each_time, "GetPut|PutGet", "note"),
        (changes_the_record_it_is_given, "no method may change|PutGet", "a"),
        (loses_what_is_not_mapped, "GetPut", "'b': '0'"),
        (remembers_the_first_of_two_writes, "Passthrough|PutPut", "a"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_mistake_is_found_with_a_small_example(mistake: Callable[[], None], law: str, example: str) -> None:
    with pytest.raises(AssertionError) as caught:
        mistake()
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert re.search(law, told)
    assert re.search(example, told)


def test_the_right_way_to_do_the_same_is_lawful() -> None:
    lens = Lens(
        Field("email", "email", text(case="lower")),
        FirstOf("phone", "phones"),
        Field("price", "cents", decimal(2, wire="minor")),
        Field("note", "note", text(max_length=3, truncate=True)),
        Field("tags", "tags", items(text())),
        Computed("shown", lambda view: view.get("note"), direction="push"),
    )
    records = some(
        email=NULL | WORDS, phones=st.lists(WORDS), cents=NULL | st.integers(), note=WORDS, tags=st.lists(NULL | WORDS)
    )
    prices = st.decimals(-(10**9), 10**9, places=2)
    views = some(
        email=WORDS, phone=NULL | WORDS, price=NULL | prices, note=NULL | WORDS, tags=st.lists(WORDS), shown=WORDS
    )
    views = views.map(lambda view: {name: value for name, value in view.items() if name != "shown"})
    assert_lens_laws(lens, external=records, view=views, put_put=True)


READY = {
    f"{name} {kind}": getattr(module, kind)()
    for name, module in {"salesforce": salesforce, "hubspot": hubspot, "pipedrive": pipedrive}.items()
    for kind in ("contact", "company", "deal")
}


@pytest.mark.parametrize("lens", [CONTACT, *READY.values()], ids=["every kind of line", *READY])
def test_a_mapping_alone_will_do_for_the_laws(lens: Lens) -> None:
    assert_lens_laws(lens, put_put=True, max_examples=30)


class Forgetful(Lens):
    """Loses what is not mapped."""

    def put(self, record: Mapping[str, Any], view: Mapping[str, Any]) -> Data:
        return {name: value for name, value in super().put(record, view).items() if name in self.paths}


WRONG = {
    "lower case that canon does not know": Lens(Field("email", "email", Codec(encode=str.lower))),
    "cuts what canon does not cut": Lens(Field("note", "note", Codec(encode=lambda note: note[:3]))),
    "a canon that changes each time": Lens(Field("note", "note", Codec(canon=lambda note: f"{note}!"))),
    "reads what it does not write": Lens(
        Field("price", "cents", Codec(lambda cents: cents / 100, canon=number().canon)),
    ),
    "a choice that cannot be read back": Lens(
        Field("stage", "at", Codec({"O": "open", "W": "won"}.__getitem__, lambda _: "O", samples=("open", "won")))
    ),
    "loses what is not mapped": Forgetful(Field("note", "note")),
}


@pytest.mark.parametrize("lens", WRONG.values(), ids=WRONG)
def test_a_mistake_is_found_with_the_mapping_alone(lens: Lens) -> None:
    with pytest.raises(AssertionError):
        assert_lens_laws(lens)


def test_examples_have_what_nobody_would_guess_and_what_a_provider_may_have() -> None:
    tags = items(blank_is_none(choice({"hot": "H", "cold": "C"})))
    lens = Lens(Field("tags", "tags", tags), FirstOf("phone", "phones", item="value", where={"main": True}))
    assert find(views_of(lens), lambda view: bool(view.get("tags")))["tags"] in {("hot",), ("cold",)}
    assert len(find(records_of(lens), lambda record: len(record.get("phones") or ()) > 1)["phones"]) > 1
    find(records_of(lens), lambda record: "tags" not in record and EXTRA in record)


def test_what_cannot_be_found_out_must_be_given() -> None:
    secretive = Codec({"O": "open"}.__getitem__, {"open": "O"}.__getitem__)
    with pytest.raises(ValueError, match="'stage'"):
        assert_lens_laws(Lens(Field("stage", "stage", secretive)))
    with pytest.raises(ValueError, match="of a Mapping"):
        assert_lens_laws(Naive(dict, lambda record, view: record | view))
    assert_lens_laws(Lens(Field("stage", "stage", evolve(secretive, samples=("open",)))))
