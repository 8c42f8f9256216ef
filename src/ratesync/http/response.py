"""A whole answer, read within its bounds."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from attrs import field, frozen

from ratesync.http.headers import Headers
from ratesync.http.payload import decode_json
from ratesync.model.secret import Secret

STATUSES = range(100, 600)
"""What HTTP has as statuses of answers."""


@frozen
class Response:
    """A provider's answer. Headers and body stay out of its repr, as they may hold private data."""

    status: int
    """The status code of HTTP."""
    headers: Headers = field(factory=Headers, repr=False)
    body: bytes = field(default=b"", repr=False)
    """Decoded: a gzip encoding is already undone."""
    secrets: tuple[Secret, ...] = field(default=(), repr=False)
    """The credentials that went out with the request: masked in every reason."""

    @property
    def is_success(self) -> bool:
        """The status is one of 200 to 299."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def json(self) -> Any:
        """The body as a JSON value.

        :raises InvalidResponse: it is not strict JSON in UTF-8, or nested too deep.
        """
        return decode_json(self.body)
