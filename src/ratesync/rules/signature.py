"""Signatures with a shared secret (HMAC, RFC 2104)."""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Literal

HashName = Literal["sha256", "sha384", "sha512", "sha1"]
HASHES: tuple[HashName, ...] = ("sha256", "sha384", "sha512", "sha1")

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def hmac_digest(key: bytes, message: bytes, hash_name: HashName = "sha256") -> bytes:
    """The signature of a message."""
    return hmac.digest(key, message, hash_name)


def decode_signature(text: str, encoding: Literal["hex", "base64"]) -> bytes | None:
    """The bytes of a signature as it was sent; None if it is none. Never raises."""
    if encoding == "hex":
        return bytes.fromhex(text) if _HEX.fullmatch(text) else None
    try:
        return b64decode(text, validate=True) if _BASE64.fullmatch(text) else None
    except binascii.Error:
        return None


def any_matches(expected: Iterable[bytes], given: Iterable[bytes]) -> bool:
    """Tell whether any signature given is one of those expected. Every pair is compared, each in constant time."""
    candidates = list(given)
    matches = False
    for signature in expected:
        for candidate in candidates:
            matches |= hmac.compare_digest(signature, candidate)
    return matches
