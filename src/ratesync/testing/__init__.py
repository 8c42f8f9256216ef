"""For tests of ratesync, of its plugins and of applications: conformance suites, fakes, faults, virtual time."""

from __future__ import annotations

import pkgutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratesync.testing.lens_laws import assert_lens_laws

__all__ = ["assert_lens_laws"]

if "pytest" in sys.modules:  # else nobody runs the suites, and what needs no pytest should not load it
    import pytest

    # Before the suites are imported, so that their failures show the values compared.
    pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))


def __getattr__(name: str) -> Any:
    if name == "assert_lens_laws":  # when it is asked for, as it needs Hypothesis, which not all of this package does
        from ratesync.testing.lens_laws import assert_lens_laws

        return assert_lens_laws
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
