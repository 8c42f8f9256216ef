"""A field: one value of the view, one of the provider's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen, validators

from ratesync.errors import ConfigurationError
from ratesync.mapping.codec import AS_IS, Codec
from ratesync.mapping.field_error import Refused
from ratesync.mapping.missing import MISSING
from ratesync.mapping.part import Data, Direction, Part
from ratesync.mapping.path import Fetch, fetcher, parse_path, remover, storer
from ratesync.rules.sameness import is_same

_DIRECTIONS = ("both", "push", "pull")


@frozen
class Field:
    """One value of the view, at one place of the provider's record.

    What is missing stays missing, None stays None and "" stays "".
    """

    name: str
    """In the view."""
    path: str
    """In the provider's record, such as ``properties.email``."""
    codec: Codec = AS_IS
    """Translates the value. Default: both sides spell it alike."""
    direction: Direction = field(default="both", validator=validators.in_(_DIRECTIONS), kw_only=True)
    """"push": sent, never read. "pull": read, never sent. A record that is put back keeps its value of either."""
    required: bool = field(default=False, kw_only=True)
    """A create must have it, and nothing may clear it. What the provider has without it can be read and put back."""
    default: Any = field(default=MISSING, kw_only=True)
    """The view's value where the provider has none, and what a create sends where the view has none."""
    null_as: Any = field(default=None, kw_only=True)
    """How the provider spells None. HubSpot: "", which then is None in the view too."""
    match_key: bool = field(default=False, kw_only=True)
    """At their first meeting in a sync, records of both sides that have the same value of it are taken for one and the
    same. The provider must be able to search by it. ``Binding.match_keys`` has the last word."""

    def compile(self) -> Part:
        """Make the functions of this field."""
        path = parse_path(self.path)
        default = MISSING if self.default is MISSING else self._checked_default()
        reads, writes = self.direction != "push", self.direction != "pull"
        if self.match_key and not reads:
            raise ConfigurationError(f"field {self.name!r} is no match key: it is never read")
        both = self.direction == "both"
        return Part(
            self.path,
            (self.name,),
            (path,),
            read=_reader(self, fetcher(path), default) if reads else None,
            write=_writer(self, path, default) if writes else None,
            touch=_toucher(self, path) if writes else None,
            canon=_canoniser(self, default) if both else None,
        )

    def _checked_default(self) -> Any:
        try:
            return None if self.default is None else self.codec.canon(self.default)
        except Exception as error:  # noqa: BLE001  a codec may raise anything
            raise ConfigurationError(f"default of field {self.name!r} is refused by its codec: {error}") from None


@frozen
class Ref(Field):
    """A field that names a record of another resource: a contact's company.

    Its value is the other record's id at the provider. What knows both sides' ids (the sync) finds these fields in
    :attr:`Mapping.refs <ratesync.mapping.Mapping.refs>`, and writes parents before children.
    """

    resource: str = field(kw_only=True)
    """The resource it refers to ("companies")."""


def _decoder(line: Field) -> Any:
    decode, null_as = line.codec.decode, line.null_as

    def decode_or_null(value: Any) -> Any:
        return None if value is None or (null_as is not None and is_same(value, null_as)) else decode(value)

    return decode if null_as is None else decode_or_null


def canon_of(line: Field) -> Any:
    """The line's canonical form; what it spells as null is None."""
    canon, null_as = line.codec.canon, line.null_as
    if null_as is None:
        return canon

    def canon_or_null(value: Any) -> Any:
        found = None if is_same(value, null_as) else canon(value)
        return None if is_same(found, null_as) else found

    return canon_or_null


def _reader(line: Field, fetch: Fetch, default: Any) -> Any:
    name, decode = line.name, _decoder(line)

    def read(record: Data, view: Data) -> None:
        value = fetch(record)
        if value is None:
            view[name] = None
        elif value is not MISSING:
            view[name] = decode(value)
        elif default is not MISSING:
            view[name] = default

    return read


def _writer(line: Field, path: Any, default: Any) -> Any:
    name, required, both = line.name, line.required, line.direction == "both"
    encode, canon, decode, null_as = line.codec.encode, canon_of(line), _decoder(line), line.null_as
    fetch, store, remove = fetcher(path), storer(path), remover(path)

    holds = _holder(decode, default)

    def leave_out(record: Data, creating: bool) -> None:  # noqa: FBT001
        if required:
            old = fetch(record)
            if creating or not (old is MISSING or holds(old, None)):
                raise Refused("required", "must be given")
        if both and not creating:
            remove(record)

    def write(record: Data, view: Data, creating: bool) -> None:  # noqa: FBT001
        value = view.get(name, default)
        if value is MISSING:
            leave_out(record, creating)
            return
        if value is not None:
            value = canon(value)
        if not creating and holds(fetch(record), value):
            return
        if value is None and required:
            raise Refused("required", "must not be None", value)
        store(record, null_as if value is None else encode(value))

    return write


def _holder(decode: Any, default: Any) -> Callable[[Any, Any], bool]:
    """A function that tells whether what the provider has means that value, however it is spelt."""

    def holds(old: Any, value: Any) -> bool:
        if old is MISSING:
            return default is not MISSING and is_same(value, default)
        try:
            return is_same(None if old is None else decode(old), value)
        except Exception:  # noqa: BLE001  what cannot be read is replaced
            return False

    return holds


def _toucher(line: Field, path: Any) -> Any:
    name, required = line.name, line.required
    encode, canon, store, null_as = line.codec.encode, canon_of(line), storer(path), line.null_as
    indexed = any(isinstance(part, int) for part in path)

    def touch(record: Data, view: Data, may_be_new: bool) -> None:  # noqa: FBT001
        if name not in view:
            if required and may_be_new:
                raise Refused("required", "must be given, as the record may be new")
            return
        if indexed:
            raise Refused("needs_current", "lies in a list: sending it would drop the rest. Send Mapping.patch instead")
        value = view[name]
        if value is not None:
            value = canon(value)
        if value is None and required:
            raise Refused("required", "must not be None", value)
        store(record, null_as if value is None else encode(value))

    return touch


def _canoniser(line: Field, default: Any) -> Any:
    name, canon = line.name, canon_of(line)

    def canonise(view: Data, canonical: Data) -> None:
        value = view.get(name, default)
        if value is None:
            canonical[name] = None
        elif value is not MISSING:
            canonical[name] = canon(value)

    return canonise
