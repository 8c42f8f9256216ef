"""How records are listed and searched for over REST, said in data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen

from ratesync.errors import ConfigurationError, UnsupportedOperation
from ratesync.providers.path import Path, path_if_any
from ratesync.rules.paging import NextLink, Pager

Query = Callable[[str, Sequence[str]], Mapping[str, str]]
"""The parameters that ask for records with one of the values at a path; UnsupportedOperation where that cannot be."""


@frozen(kw_only=True)
class Listing:
    """A call that gives the records of a resource, page by page."""

    path: Path | None = field(default=None, converter=path_if_any)
    """In it ``{resource}`` and ``{connection}`` stand for what is asked for. None: the resource's own path."""
    pager: Pager = field(factory=NextLink)
    """How the API pages: one of :mod:`ratesync.http`'s (PageNumber, Offset, Cursor, NextLink, Keyset), or another."""
    size_param: str | None = None
    """Where the wished number of records is sent; None: nowhere."""
    params: Mapping[str, str] = field(factory=dict[str, str])
    """Sent with each page, but not with the links of a NextLink: a stable order, such as by id, belongs here."""
    link_header: str = "link"
    """Which header has the link of a NextLink. One of another name holds the plain URL (``"next-page"``)."""
    query: Query | None = None
    """How it is narrowed down to records with a value, such as :func:`equal_to`; None: it cannot be. The pager must
    tell where the end is, since all that is found must be on one page."""

    def __attrs_post_init__(self) -> None:
        if self.path is not None and "record_id" in self.path.places:
            raise ConfigurationError(f"a listing is of all records: {self.path.template!r} must have no {{record_id}}")

    def asking(self, limit: int | None, params: Mapping[str, str] | None = None) -> dict[str, str]:
        """The query of a page."""
        size = {} if self.size_param is None or limit is None else {self.size_param: str(limit)}
        return {**self.params, **size, **(params or {})}


def equal_to(path: str, values: Sequence[str]) -> Mapping[str, str]:
    """``?email=ada@example.org``: one value, under the field's own name.

    :raises UnsupportedOperation: there are several values, or none.
    """
    if len(values) != 1:
        raise UnsupportedOperation("this provider searches for one value at a time", path="values")
    return {path: values[0]}
