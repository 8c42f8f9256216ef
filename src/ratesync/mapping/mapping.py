"""The translation of a whole record, both ways."""

from __future__ import annotations

from collections import abc
from types import MappingProxyType
from typing import Any

from ratesync.errors import ConfigurationError
from ratesync.mapping.field import Field, Ref
from ratesync.mapping.field_error import FieldError, InvalidFields, mistake, shape_of
from ratesync.mapping.first_of import FirstOf
from ratesync.mapping.part import Data, Line, Part
from ratesync.mapping.path import Path, copy_along, parse_path, show, storer, tree_of
from ratesync.model.operation import Fields, Kind
from ratesync.rules.merge_patch import diff
from ratesync.rules.sameness import is_same


class Mapping:
    """Translates records between the host's view and the provider's record, both ways.

    It is a lens: a record that is put back as it was read does not change, not even in its spelling; what is put can be
    read back; and what the mapping does not know stays as it is. :func:`~ratesync.testing.lens_laws.assert_lens_laws`
    checks that. A view is a flat dict of JSON values. A name that is not in it is missing, which is not None.

    It is a :class:`~ratesync.protocols.Transformer` too: give it to the engine as
    ``transformers={("acme", "contacts"): mapping}``.

    No method changes its argument. All raise :class:`~ratesync.mapping.InvalidFields` with every mistake at once.
    """

    def __init__(
        self, *lines: Line, passthrough: bool = False, eager: bool = True, hidden: abc.Collection[str] = ()
    ) -> None:
        """Compile the lines.

        :param lines: :class:`Field`, :class:`Ref`, :class:`FirstOf`, :class:`Split`, :class:`Join`, :class:`Computed`.
        :param passthrough: carry the provider's other outermost fields over into the view, and back. Without it they
            stay at the provider, unseen, and a name in the view that no line has is a mistake.
        :param eager: have the engine check operations at submit too.
        :param hidden: the provider's outermost fields that do not pass through all the same.
        :raises ConfigurationError: a line makes no sense, or two lines have the same name or overlapping paths.
        """
        parts = [line.compile() for line in lines]
        self.lines = lines
        self.passthrough = passthrough
        self.eager = eager
        self._hidden = frozenset(hidden)
        self.names = frozenset(name for part in parts for name in part.names)
        """Every name of the view."""
        self.refs: abc.Mapping[str, str] = MappingProxyType(
            {line.name: line.resource for line in lines if isinstance(line, Ref)}
        )
        """Names that refer to another resource, and which."""
        self.match_keys: abc.Mapping[str, str] = MappingProxyType(
            {line.name: line.path for line in lines if isinstance(line, Field | FirstOf) and line.match_key}
        )
        """Names by which records of both sides are matched, and where each stands in the provider's record."""
        _check_apart(parts)
        self.paths = tuple(dict.fromkeys(show(path) for part in parts for path in part.paths))
        """Every place of the provider's record that a line reads or writes."""
        self.places: abc.Mapping[str, tuple[str, ...]] = MappingProxyType(
            {name: tuple(show(path) for path in part.paths) for part in parts for name in part.names}
        )
        """Of each name of the view: the places of the provider's record that it is made of."""
        self._reads = [(part.read, part) for part in parts if part.read is not None]
        self._writes = [(part.write, part) for part in parts if part.write is not None]
        self._touches = [(part.touch, part) for part in parts if part.touch is not None]
        self._canons = [(part.canon, part) for part in parts if part.canon is not None]
        self._computes = [(part.compute, storer(part.paths[0]), part) for part in parts if part.compute is not None]
        self.read_only = frozenset(
            name for part in parts if part.write is None and part.read is not None for name in part.names
        )
        """Names that come from the provider and cannot be sent."""
        self._tree = tree_of(path for part in parts if part.write or part.compute for path in part.paths)
        self._roots = self._hidden.union(str(path[0]) for part in parts for path in part.paths)

    def get(self, record: Fields) -> Data:
        """The view of a provider's record, in canonical form."""
        source = record if isinstance(record, dict) else dict(record)
        view: Data = self._rest(source, self.names) if self.passthrough else {}
        errors: list[FieldError] | None = None
        for read, part in self._reads:
            try:
                read(source, view)
            except Exception as error:  # noqa: BLE001  a codec of the host's may raise anything
                errors = errors or []
                errors.append(mistake(error, part.place))
        if errors:
            raise InvalidFields(errors, path="record")
        return view

    def put(self, record: Fields, view: abc.Mapping[str, Any]) -> Data:
        """The provider's record, changed so that it has this view: all of it, so what the view lacks is taken away.

        A value that means the same as before keeps the provider's spelling.
        """
        given, errors = self._given(view)
        target = self._start(record, given)
        self._write(target, given, errors, creating=False)
        if self._computes and not errors:
            self._compute(target, given, errors, self._get_canonical(record))
        if errors:
            raise InvalidFields(errors)
        return target

    def create(self, view: abc.Mapping[str, Any]) -> Data:
        """A new record of the provider's for this view, defaults included."""
        given, errors = self._given(view)
        target = self._start({}, given)
        self._write(target, given, errors, creating=True)
        if self._computes and not errors:
            self._compute(target, given, errors, None)
        if errors:
            raise InvalidFields(errors)
        return target

    def patch(self, record: Fields, view: abc.Mapping[str, Any]) -> Data:
        """The smallest change of a record that gives it the values in ``view``: {} if it has them.

        What the view lacks is left alone; None clears. It is a JSON merge patch: lists are whole, null takes away.
        """
        current = self.get(record)
        changed = {name: value for name, value in view.items() if not is_same(value, current.get(name))}
        if errors := self._read_only(changed):
            raise InvalidFields(errors)
        wanted = {name: value for name, value in current.items() if name not in self.read_only} | dict(view)
        return diff(record, self.put(record, wanted))

    def update(self, view: abc.Mapping[str, Any], *, may_be_new: bool = False) -> Data:
        """What to send of a record that is not known here: the given fields only. None clears.

        :param may_be_new: as for an upsert: then what is required must be there.
        """
        given, errors = self._given(view)
        target = self._start({}, given)
        for touch, part in self._touches:
            try:
                touch(target, given, may_be_new)
            except Exception as error:  # noqa: BLE001  a codec of the host's may raise anything
                errors.append(mistake(error, _names_of(part)))
        errors += self._read_only(given)
        if errors:
            raise InvalidFields(errors)
        return target

    def canon(self, view: abc.Mapping[str, Any]) -> Data:
        """The view in canonical form: what both sides can hold, each value in its one spelling, defaults included."""
        given, errors = self._given(view)
        canonical = {name: value for name, value in given.items() if name not in self.names}
        for canon, part in self._canons:
            try:
                canon(given, canonical)
            except Exception as error:  # noqa: BLE001  a codec of the host's may raise anything
                errors.append(mistake(error, _names_of(part)))
        if errors:
            raise InvalidFields(errors)
        return canonical

    def to_external(self, fields: Fields, kind: Kind) -> Fields:
        """The provider's fields for a write: the whole record for a create, else what is given."""
        if kind is not Kind.CREATE:
            return self.update(fields, may_be_new=kind is Kind.UPSERT)
        if errors := self._read_only(fields):
            raise InvalidFields(errors)
        return self.create(fields)

    def to_local(self, fields: Fields) -> Fields:
        """The view of a record that the provider sent."""
        return self.get(fields)

    def check_at_submit(self, fields: Fields, kind: Kind, path: str) -> None:
        """Tell a mistake when an operation is submitted, if the mapping is ``eager``.

        :param path: of the fields, for the error.
        :raises InvalidFields: with every mistake.
        """
        if self.eager:
            try:
                self.to_external(fields, kind)
            except InvalidFields as error:
                raise InvalidFields(error.errors, path=path) from None

    def without(self, paths: abc.Collection[str]) -> Mapping:
        """The same mapping without the lines that read or write these fields, or something in or around them.

        They do not pass through either; a view that names one is refused. For fields that a provider took away or
        changed, see :func:`ratesync.rules.schema_drift.decide_drift`.

        :param paths: in the provider's record, as in :attr:`paths`.
        """
        left_out = [parse_path(path) for path in paths]
        kept: list[Line] = []
        hidden = self._hidden | {str(path[0]) for path in left_out}
        for line in self.lines:
            part = line.compile()
            if any(_overlap(path, other) for path in part.paths for other in left_out):
                hidden |= set(part.names)  # or they would pass through, as fields that the mapping does not know
            else:
                kept.append(line)
        return Mapping(*kept, passthrough=self.passthrough, eager=self.eager, hidden=hidden)

    def _given(self, view: abc.Mapping[str, Any]) -> tuple[Data, list[FieldError]]:
        given = view if isinstance(view, dict) else dict(view)
        if self.names.issuperset(given):
            return given, []
        return given, [
            FieldError(str(name), "unknown_field", "is no field of the mapping", shape_of(value))
            for name, value in given.items()
            if name not in self.names and (not self.passthrough or name in self._roots)
        ]

    def _start(self, record: Fields, view: Data) -> Data:
        """A copy of the record to write to, with what passes through as the view has it."""
        target = copy_along(record, self._tree)
        if self.passthrough:
            for name in self._rest(target, self.names):
                if name not in view:
                    del target[name]
            target |= self._rest(view, self.names)
        return target

    def _rest(self, data: Data, names: frozenset[str]) -> Data:
        return {name: value for name, value in data.items() if name not in names and name not in self._roots}

    def _write(self, target: Data, view: Data, errors: list[FieldError], *, creating: bool) -> None:
        for write, part in self._writes:
            try:
                write(target, view, creating)
            except Exception as error:  # noqa: BLE001  a codec of the host's may raise anything
                errors.append(mistake(error, _names_of(part)))

    def _compute(self, target: Data, view: Data, errors: list[FieldError], before: Data | None) -> None:
        canonical = self.canon(view)
        for compute, store, part in self._computes:
            try:
                value = compute(canonical)
                if before is None or not is_same(value, compute(before)):
                    store(target, value)
            except Exception as error:  # noqa: BLE001  a function of the host's may raise anything
                errors.append(mistake(error, part.place))

    def _get_canonical(self, record: Fields) -> Data | None:
        try:
            return self.canon(self.get(record))
        except InvalidFields:
            return None

    def _read_only(self, view: Fields) -> list[FieldError]:
        return [
            FieldError(name, "read_only", "comes from the provider and cannot be sent", shape_of(view[name]))
            for name in view
            if name in self.read_only
        ]


def _overlap(path: Path, other: Path) -> bool:
    """Whether two paths are the same, or one lies inside the other."""
    return path[: len(other)] == other[: len(path)]


def _names_of(part: Part) -> str:
    return ", ".join(part.names)


def _check_apart(parts: abc.Sequence[Part]) -> None:
    names: set[str] = set()
    written: list[Path] = []
    for part in parts:
        for name in part.names:
            if name in names:
                raise ConfigurationError(f"two lines of the mapping have the name {name!r}")
            names.add(name)
        if part.write is None and part.compute is None:
            continue
        for path in part.paths:
            for other in written:
                if _overlap(path, other):
                    raise ConfigurationError(f"two lines write to {show(path)} and {show(other)}, which overlap")
            written.append(path)
