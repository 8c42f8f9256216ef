"""What `import ratesync` gives. The order of `__all__` is watched by ruff (RUF022)."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import ratesync
import ratesync.http
import ratesync.mapping
import ratesync.providers
import ratesync.sync
import ratesync.testing

PUBLIC = [ratesync, ratesync.sync, ratesync.http, ratesync.mapping, ratesync.providers]
public = pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)


@public
def test_every_public_name_is_there_once(module: ModuleType) -> None:
    assert len(module.__all__) == len(set(module.__all__)) > 0
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@public
def test_nothing_else_looks_public(module: ModuleType) -> None:
    visible = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    assert visible <= set(module.__all__)


@public
def test_every_public_class_and_function_says_what_it_is_for(module: ModuleType) -> None:
    undocumented = [
        name
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name)) or inspect.isfunction(value)
        if not (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__)
    ]
    assert undocumented == []


def test_the_version_is_the_installed_one_and_is_looked_up_when_asked_for() -> None:
    script = "import ratesync; assert '__version__' not in vars(ratesync); print(ratesync.__version__)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == importlib.metadata.version("ratesync")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(ratesync, "no_such_name")  # noqa: B009 - mypy would find the plain spelling


def test_the_package_for_tests_is_imported_without_what_it_tests_with() -> None:
    script = (
        "import sys, ratesync.testing as t; assert not {'hypothesis', 'pytest'} & sys.modules.keys(); "
        "assert t.assert_lens_laws.__module__ == 'ratesync.testing.lens_laws'; assert 'hypothesis' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(ratesync.testing, "no_such_name")  # noqa: B009
