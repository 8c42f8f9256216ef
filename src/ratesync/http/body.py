"""Reading an answer's body within bounds: no more bytes than allowed, neither on the wire nor decoded."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BytesIO

import anyio

from ratesync.errors import InvalidResponse, ResponseTooLarge
from ratesync.http.exchange import RawResponse
from ratesync.http.headers import Headers

CLOSE_TIMEOUT = 0.1
"""Seconds that closing a connection may take; it is not waited for any longer."""

_PIECE = 65_536
"""Bytes that are decoded at once."""

_GZIP = frozenset({"gzip", "x-gzip"})


async def read_body(raw: RawResponse, headers: Headers, limit: int) -> bytes:
    """The whole body, at most ``limit`` bytes of it on the wire and at most ``limit`` decoded.

    A gzip encoding is undone piece by piece, so a small answer that unfolds into a huge one costs no more memory than
    the limit. Any other encoding, or one within another, is refused: it was not asked for. If this fails, the answer's
    connection is closed.

    :raises ResponseTooLarge: there is more.
    :raises InvalidResponse: the encoding is not known, or the encoded bytes are broken.
    """
    if raw.is_stream_consumed:
        return _already_read(raw, limit)
    chunks = raw.aiter_raw()
    try:
        return await _collect(chunks, headers, limit)
    except BaseException:
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True), suppress(Exception):
            await raw.aclose()
            # The generators within each other that httpx reads through end by themselves now. Left where they are they
            # would end as garbage, which trio warns of.
            async for _ in chunks:
                pass
        raise


async def _collect(chunks: AsyncIterator[bytes], headers: Headers, limit: int) -> bytes:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise _too_large(limit)
    gunzip = _gunzip(headers.get("content-encoding", ""))
    body, wire = BytesIO(), 0
    async for chunk in chunks:
        wire += len(chunk)
        if wire > limit:
            raise _too_large(limit)
        if gunzip is None:
            body.write(chunk)
        else:
            gunzip.feed(chunk, body, limit)
    if gunzip is not None:
        gunzip.finish()
    return body.getvalue()


def _already_read(raw: RawResponse, limit: int) -> bytes:
    """What an event hook or the authentication of the host's own client has read before us."""
    if len(raw.content) > limit:
        raise _too_large(limit)
    return raw.content


def _gunzip(encoding: str) -> Gunzip | None:
    codings = [coding for part in encoding.split(",") if (coding := part.strip().lower()) not in {"", "identity"}]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _GZIP:
        raise InvalidResponse("the answer is encoded in a way that was not asked for (only gzip is understood)")
    return Gunzip()


def _too_large(limit: int) -> ResponseTooLarge:
    return ResponseTooLarge(f"the answer is larger than {limit} bytes: raise max_response_bytes or ask for less")


class Gunzip:
    """Undoes gzip (RFC 1952, also several members in a row) and never makes more than it is allowed to."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._started = False

    def feed(self, data: bytes, body: BytesIO, limit: int) -> None:
        """Decode the next bytes from the wire and add them to the body, which must not grow beyond ``limit`` bytes.

        :raises ResponseTooLarge: it would.
        :raises InvalidResponse: it is not gzip.
        """
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            self._started = True
            room = limit - body.tell()
            try:
                body.write(self._member.decompress(data, min(room + 1, _PIECE)))
            except zlib.error:
                raise InvalidResponse("the answer says that it is gzip and is not") from None
            if body.tell() > limit:
                raise ResponseTooLarge(f"the answer unfolds into more than {limit} bytes: raise max_response_bytes")
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> None:
        """Make sure that the last member is whole.

        :raises InvalidResponse: it was cut off.
        """
        if self._started and not self._member.eof:
            raise InvalidResponse("the answer says that it is gzip and is cut off")
