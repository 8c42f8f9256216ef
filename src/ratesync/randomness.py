"""The one file that reads randomness."""

from __future__ import annotations

import random


def system_random() -> random.Random:
    """A generator seeded by the operating system. For jitter and ids, not for secrets."""
    return random.Random()  # noqa: S311


def operation_id(now: float, source: random.Random) -> str:
    """A new UUIDv7 (RFC 9562) as 32 hexadecimal digits: sorts by time, unique without coordination."""
    noise = source.getrandbits(74)
    milliseconds = int(now * 1000) & 0xFFFFFFFFFFFF
    variant = 0x8000000000000000 | noise & 0x3FFFFFFFFFFFFFFF
    return f"{milliseconds:012x}7{noise >> 62:03x}{variant:016x}"
