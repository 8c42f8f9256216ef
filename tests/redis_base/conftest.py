from __future__ import annotations

import pytest

LEFT_OPEN = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""Coredis leaves streams of connections open that never came about."""
