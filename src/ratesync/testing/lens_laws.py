"""The laws of a two-way translation, checked with examples by Hypothesis."""

from __future__ import annotations

from collections import abc
from collections.abc import Callable
from typing import Any, Protocol

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ratesync.mapping import Mapping
from ratesync.rules.merge_patch import apply
from ratesync.rules.sameness import is_same
from ratesync.testing.lens_strategies import EXTRA, records_of, views_of

Data = dict[str, Any]


class Lens(Protocol):
    """What the laws are about: :class:`ratesync.mapping.Mapping`, or a translation of your own."""

    def get(self, record: abc.Mapping[str, Any]) -> Data:
        """The view of a provider's record."""
        ...

    def put(self, record: abc.Mapping[str, Any], view: abc.Mapping[str, Any]) -> Data:
        """The record, changed so that it has this view."""
        ...

    def create(self, view: abc.Mapping[str, Any]) -> Data:
        """A new record for this view."""
        ...

    def patch(self, record: abc.Mapping[str, Any], view: abc.Mapping[str, Any]) -> Data:
        """The smallest change of the record that gives it what the view has."""
        ...

    def canon(self, view: abc.Mapping[str, Any]) -> Data:
        """The view in canonical form."""
        ...


def assert_lens_laws(
    mapping: Lens,
    *,
    external: st.SearchStrategy[Data] | None = None,
    view: st.SearchStrategy[Data] | None = None,
    echo: Callable[[Data], Data] | None = None,
    put_put: bool = False,
    unmapped: Callable[[Data], object] | None = None,
    max_examples: int = 100,
) -> None:
    """Check that a mapping loses nothing and changes nothing by itself.

    - GetPut: ``put(s, get(s)) == s``, so an idle sync writes nothing; and ``patch(s, get(s)) == {}``.
    - PutGet: ``canon(get(put(s, v))) == canon(v)``, so that what was written is what is read.
    - CreateGet: the same for a new record.
    - Canon: ``canon`` changes nothing the second time, and what ``get`` gives is in canonical form.
    - Patch: a server that applies the patch then has the view.
    - Provider: PutGet, when the server spells what it stores in its own way (``echo``).
    - PutPut (``put_put``): a second write leaves no trace of the first. A mapping that keeps the provider's spelling
      holds it for views only, which is what is checked: in what can be read, and in what is not mapped.
    - Passthrough (``unmapped``): what the mapping does not know stays the same.
    - No method changes its argument.

    :param external: records as the provider has them, which the mapping can read. Default, for a
        :class:`~ratesync.mapping.Mapping`: what it makes of views, changed at random, with a field that is not mapped.
    :param view: views that the mapping can write. Default, for a Mapping: found out by trying what each field takes;
        :attr:`Codec.samples <ratesync.mapping.Codec.samples>` names what nobody would guess.
    :param echo: what the server gives back for a record that it was sent. Default: the record as it was sent.
    :param unmapped: the part of a record that no line writes. Default: nothing, or of default records that field.
    :param max_examples: for each law. Default 100.
    :raises AssertionError: a law is broken; Hypothesis shows the smallest example that it found.
    :raises ValueError: the examples cannot be found out, so that ``external`` and ``view`` must be given.
    """
    if view is None or external is None:
        if not isinstance(mapping, Mapping):
            raise ValueError("give external= and view=: only those of a Mapping can be found out")
        if external is None and unmapped is None and not mapping.passthrough:
            unmapped = _extra
        view = view or views_of(mapping)
        external = external or records_of(mapping)
    laws = _Laws(mapping, echo or (lambda record: record), unmapped or (lambda _: None))
    _check(max_examples, laws.get_put, external)
    _check(max_examples, laws.put_get, external, view)
    _check(max_examples, laws.create_get, view)
    _check(max_examples, laws.canon, view)
    _check(max_examples, laws.patch, external, view)
    if put_put:
        _check(max_examples, laws.put_put, external, view, view)


def _extra(record: Data) -> object:
    return record.get(EXTRA)


def _check(max_examples: int, law: Callable[..., None], *strategies: st.SearchStrategy[Data]) -> None:
    @settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        report_multiple_bugs=False,  # a law that is broken in two ways is told by the simpler one, not by a group
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
    )
    @given(st.tuples(*strategies))
    def holds(example: tuple[Data, ...]) -> None:
        law(*example)

    holds()


class _Laws:
    """The laws as functions of one example."""

    def __init__(self, lens: Lens, echo: Callable[[Data], Data], unmapped: Callable[[Data], object]) -> None:
        self._lens = lens
        self._echo = echo
        self._unmapped = unmapped

    def get_put(self, record: Data) -> None:
        before = _freeze(record)
        seen = self._lens.get(record)
        put = self._lens.put(record, seen)
        _equal("GetPut: a record that is put back as it was read must not change", put, record)
        _equal("GetPut: there is nothing to send then", self._lens.patch(record, seen), {})
        _equal("no method may change the record it is given", record, before)

    def put_get(self, record: Data, view: Data) -> None:
        before, given_view = _freeze(record), _freeze(view)
        put = self._lens.put(record, view)
        wanted = self._lens.canon(view)
        _equal("PutGet: what was written must be what is read", self._canon_of(put), wanted)
        _equal("Provider: it must be so from what the server gives back", self._canon_of(self._echo(put)), wanted)
        _equal("Passthrough: what is not mapped must stay", self._unmapped(put), self._unmapped(record))
        _equal("no method may change the record it is given", record, before)
        _equal("no method may change the view it is given", view, given_view)

    def create_get(self, view: Data) -> None:
        created = self._lens.create(view)
        wanted = self._lens.canon(view)
        _equal("CreateGet: what was created must be what is read", self._canon_of(created), wanted)
        _equal("Provider: it must be so from what the server gives back", self._canon_of(self._echo(created)), wanted)

    def canon(self, view: Data) -> None:
        once = self._lens.canon(view)
        _equal("Canon: a canonical view must not change", self._lens.canon(once), once)
        created = self._lens.get(self._lens.create(view))
        canonical = self._lens.canon(created)
        _equal("Canon: what is read must be in canonical form", {name: created[name] for name in canonical}, canonical)

    def patch(self, record: Data, view: Data) -> None:
        patch = self._lens.patch(record, view)
        # What a patch cannot say: that a member goes rather than becomes null. Only what was given counts.
        seen = _without_none(self._canon_of(apply(record, patch)))
        # What is given may share a value of the provider's with what is not.
        wanted = self._lens.canon(self._canon_of(record) | view)
        given_names = {name for name, value in wanted.items() if name in view and value is not None}
        _equal(
            "Patch: a server that applies it must have the view",
            {name: value for name, value in seen.items() if name in given_names},
            {name: value for name, value in wanted.items() if name in given_names},
        )
        gone = {name for name, value in wanted.items() if name in view and value is None} & seen.keys()
        _equal("Patch: what the view has as None must go", sorted(gone), [])

    def put_put(self, record: Data, first: Data, second: Data) -> None:
        twice = self._lens.put(self._lens.put(record, first), second)
        once = self._lens.put(record, second)
        _equal("PutPut: the first of two writes must leave no trace", self._canon_of(twice), self._canon_of(once))
        _equal("PutPut: nor where nothing is mapped", self._unmapped(twice), self._unmapped(once))

    def _canon_of(self, record: Data) -> Data:
        """The canonical view of a record, without what it only reads."""
        return self._lens.canon(self._lens.get(record))


def _without_none(view: Data) -> Data:
    return {name: value for name, value in view.items() if value is not None}


def _freeze(value: Any) -> Any:
    """A copy that does not share any container."""
    if isinstance(value, dict):
        return {name: _freeze(inner) for name, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_freeze(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _equal(law: str, found: object, wanted: object) -> None:
    assert is_same(found, wanted), f"{law}\n  found  {found!r}\n  wanted {wanted!r}"
