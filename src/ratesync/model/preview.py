"""What a dry run shows: the requests that operations would be sent as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from ratesync.model.operation import Operation


@frozen
class PreviewedRequest:
    """A request that would be sent. Secrets in it are masked as ``***``."""

    method: str
    url: str
    """Whole, with its query."""
    headers: Mapping[str, str]
    """By their names in lower case. Only values of headers that are known to be harmless are shown."""
    body: Any = field(default=None, repr=False)
    """The JSON value; a note such as ``<12 bytes of text/csv>`` for any other body; None for none."""
    auth: str | None = None
    """The class of what authenticates it. What one of the host's own adds to the request is not shown."""


@frozen
class Problem:
    """Something that is wrong with an operation."""

    path: str
    """Where: ``operation.fields.email``."""
    code: str
    """What kind of mistake, such as "required" or "UnknownProvider"."""
    message: str
    """The mistake in words. Values of the record are not part of it."""


@frozen
class Preview:
    """One call as it would be made. Usually it is one request."""

    operations: tuple[Operation, ...]
    """The operations that it carries out, as they were given."""
    requests: tuple[PreviewedRequest, ...] = ()
    """None where they cancel each other out, or something is wrong with them."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the operations; nothing would be sent of those."""
