"""Requests that are signed with a shared secret."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Generator
from typing import Literal

import httpx
from typing_extensions import override

from ratesync.clock import Clock, SystemClock
from ratesync.errors import ConfigurationError
from ratesync.http.headers import checked_headers
from ratesync.model.secret import MASK, Secret
from ratesync.rules.signature import HASHES, HashName, hmac_digest

Message = Callable[[str, str, str, bytes], bytes]
"""(timestamp, method, path with query, body) -> the bytes that are signed."""


def dotted_message(timestamp: str, method: str, target: str, body: bytes) -> bytes:
    """``1700000000.POST./v1/contacts?x=1.{"a":1}``."""
    return f"{timestamp}.{method}.{target}.".encode() + body


class HmacSigned(httpx.Auth):
    """Signs method, path, query, body and the time with HMAC.

    :param key: the shared secret; its UTF-8 bytes are the key.
    :param header: where the signature is sent. Default ``X-Signature``.
    :param prefix: stands before it, such as ``"sha256="``.
    :param timestamp_header: where the time is sent, in seconds since the epoch. Default ``X-Timestamp``.
    :param hash_name: ``sha256`` (default), ``sha384``, ``sha512`` or, where the provider knows no better, ``sha1``.
    :param encoding: ``hex`` (default) or ``base64``.
    :param message: what is signed. Default: :func:`dotted_message`.
    :param clock: tells the time that is signed. Default: the system's.
    :raises ConfigurationError: a header or the hash cannot be used.
    """

    requires_request_body = True

    def __init__(
        self,
        key: str | Secret,
        *,
        header: str = "X-Signature",
        prefix: str = "",
        timestamp_header: str = "X-Timestamp",
        hash_name: HashName = "sha256",
        encoding: Literal["hex", "base64"] = "hex",
        message: Message = dotted_message,
        clock: Clock | None = None,
    ) -> None:
        if hash_name not in HASHES:
            raise ConfigurationError(f"hash_name must be one of {', '.join(HASHES)}")
        checked_headers({header: f"{prefix}0", timestamp_header: "0"})
        self._key = Secret.of(key)
        self._header, self._prefix, self._timestamp_header = header, prefix, timestamp_header
        self._hash_name: HashName = hash_name
        self._encoding = encoding
        self._message = message
        self._clock = clock or SystemClock()

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        timestamp = str(int(self._clock.now()))
        target = request.url.raw_path.decode("ascii")
        message = self._message(timestamp, request.method, target, request.content)
        digest = hmac_digest(self._key.reveal().encode(), message, self._hash_name)
        signature = digest.hex() if self._encoding == "hex" else b64encode(digest).decode()
        request.headers[self._timestamp_header] = timestamp
        request.headers[self._header] = self._prefix + signature
        yield request

    def preview(self, request: httpx.Request) -> None:
        """Add what this adds, masked: for a dry run."""
        request.headers[self._timestamp_header] = request.headers[self._header] = MASK

    @override
    def __repr__(self) -> str:
        return "HmacSigned()"
