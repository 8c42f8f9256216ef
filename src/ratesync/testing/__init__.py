"""For tests of ratesync, of its plugins and of applications: conformance suites, fakes, faults, virtual time."""

from __future__ import annotations

import pkgutil
import sys

if "pytest" in sys.modules:  # else nobody runs the suites, and what needs no pytest should not load it
    import pytest

    # Before the suites are imported, so that their failures show the values compared.
    pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
