"""Bells are heard on the oldest Redis."""

from __future__ import annotations

from tests.redis.test_hearing import pytestmark, test_bells_are_heard

__all__ = ["pytestmark", "test_bells_are_heard"]
