"""The floors of the architecture, read from the imports of the installed package."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

FLOORS = {
    "errors": 0,
    "model": 0,
    "rules": 1,
    "clock": 2,
    "randomness": 2,
    "protocols": 2,
    "codec": 2,
    "memory": 3,
    "sqlite": 3,
    "redis": 3,
    "postgres": 3,
    "sql": 3,
    "mapping": 3,
    "http": 3,
    "objects": 4,
    "providers": 4,
    "engine": 5,
    "sync": 6,
    "observe": 6,
    "web": 6,
    "cli": 6,
    "testing": 6,
}
"""Each part of the package and its floor. CONTRIBUTING.md tells what belongs where."""

PARTS_APART = {part for part, floor in FLOORS.items() if floor == FLOORS["memory"]}
"""Parts of one floor that never import each other: each can be left out, or replaced, alone."""

UNKNOWN_TO_THE_ENGINE = PARTS_APART - {"mapping"} | {"objects", "providers"}
"""What the engine knows by its protocol only."""

IMPORTERS = {
    "aiohttp": {"http"},
    "aiolimiter": {"memory"},
    "coredis": {"redis"},
    "cryptography": {"http"},
    "email_validator": {"mapping"},
    "httpcore": {"http"},
    "httpx": {"http", "providers", "testing"},
    "httpx_aiohttp": {"http"},
    "hypothesis": {"testing"},
    "jwt": {"http"},
    "nh3": {"mapping"},
    "phonenumbers": {"mapping"},
    "psycopg": {"postgres"},
    "pytest": {"testing"},
    "sqlalchemy": {"sql"},
    "trio": {"redis", "testing"},
}
"""Packages that cost much to import or may not be installed, and the parts that may import them."""

OPTIONAL = {
    *("aiohttp", "aiolimiter", "coredis", "cryptography", "email_validator", "httpx_aiohttp", "jwt", "nh3"),
    *("phonenumbers", "psycopg", "sqlalchemy"),
}
"""Of those: imported inside the function that needs them, so that nobody else pays."""

NO_PLACE_IN_RULES = {
    *("anyio", "asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "select"),
    *("selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time"),
    *("trio", "urllib", "uuid"),
}

LONGEST_FILE = 400
MEDIAN_FILE = 150
LONGEST_FUNCTION = 50
MOST_FUNCTIONS = 45
"""Lines of 95 % of all functions, docstrings not counted."""


def source_root() -> Path:
    spec = find_spec("ratesync")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


ROOT = source_root()
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def part_of(module: str) -> str | None:
    """The second word of a module's name; None for the facade."""
    return module.split(".")[1] if "." in module else None


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Full names of what a file imports anywhere, `from package import module` resolved to the module."""
    names = set[str]()
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            source = node.module or ""
            names.update(full if (full := f"{source}.{alias.name}") in MODULES else source for alias in node.names)
    return frozenset(names)


def own_imports() -> Iterator[tuple[str, str]]:
    """Pairs of importing and imported module, both of ratesync."""
    for module, path in MODULES.items():
        for name in sorted(imports_of(path)):
            if name == "ratesync" or name.startswith("ratesync."):
                yield module, name


def functions() -> Iterator[tuple[str, int]]:
    """Each function's place and its lines, docstring not counted."""
    for module, path in MODULES.items():
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                first = node.body[0]
                if ast.get_docstring(node) is not None and first.end_lineno is not None:
                    lines -= first.end_lineno - first.lineno + 1
                yield f"{module}.{node.name}", lines


def test_every_part_has_a_floor() -> None:
    assert {part for module in MODULES if (part := part_of(module))} <= FLOORS.keys()


def test_imports_go_down_only() -> None:
    upwards = [
        f"{importer} imports {imported}"
        for importer, imported in own_imports()
        if (part := part_of(importer)) and (target := part_of(imported)) and FLOORS[target] > FLOORS[part]
    ]
    assert upwards == []


def test_nothing_inside_imports_the_facade() -> None:
    assert [importer for importer, imported in own_imports() if imported == "ratesync"] == []


def test_replaceable_parts_do_not_know_each_other() -> None:
    sideways = [
        f"{importer} imports {imported}"
        for importer, imported in own_imports()
        if {part_of(importer), part_of(imported)} <= PARTS_APART and part_of(importer) != part_of(imported)
    ]
    assert sideways == []


def test_the_engine_knows_no_backend_and_no_provider() -> None:
    known = [
        f"{importer} imports {imported}"
        for importer, imported in own_imports()
        if part_of(importer) == "engine" and part_of(imported) in UNKNOWN_TO_THE_ENGINE
    ]
    assert known == []


def test_the_library_does_not_import_its_testing_kit() -> None:
    users = [
        importer
        for importer, imported in own_imports()
        if part_of(imported) == "testing" and part_of(importer) != "testing"
    ]
    assert users == []


def test_modules_form_no_cycle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for importer, imported in own_imports():
        graph[importer].add(imported)
    TopologicalSorter(graph).prepare()


def test_the_model_needs_the_standard_library_and_attrs_only() -> None:
    allowed = sys.stdlib_module_names | {"attrs", "ratesync"}
    foreign = {
        f"{module} imports {name}"
        for module, path in MODULES.items()
        if part_of(module) in {"errors", "model"}
        for name in imports_of(path)
        if name.split(".")[0] not in allowed
    }
    assert foreign == set()


def test_rules_are_pure() -> None:
    impure = {
        f"{module} imports {name}"
        for module, path in MODULES.items()
        if part_of(module) == "rules"
        for name in imports_of(path)
        if name.split(".")[0] in NO_PLACE_IN_RULES
    }
    waiting = {
        f"{module}:{node.lineno} waits"
        for module, path in MODULES.items()
        if part_of(module) == "rules"
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
    }
    assert impure | waiting == set()


@pytest.mark.parametrize("package", IMPORTERS)
def test_a_heavy_package_is_imported_where_it_is_used(package: str) -> None:
    importers = {
        module
        for module, path in MODULES.items()
        if any(name.split(".")[0] == package for name in imports_of(path))
        if part_of(module) not in IMPORTERS[package]
    }
    assert importers == set()


def test_optional_packages_are_imported_inside_functions() -> None:
    at_import = {
        f"{module} imports {alias.name}"
        for module, path in MODULES.items()
        for node in syntax(path).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0] in OPTIONAL
    }
    assert at_import == set()


def test_importing_the_facade_loads_no_heavy_package() -> None:
    script = f"import sys, ratesync; print(*sorted(set(sys.modules) & {set(IMPORTERS)!r}))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_only_the_clock_asks_an_event_loop_for_the_time() -> None:
    """Ruff bans the functions by name; a method of some object it cannot see."""
    places = {
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        if part_of(module) not in {"clock", "testing"}
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in {"time", "current_time", "current_effective_deadline"} and not node.args
    }
    assert places == set()


def test_only_randomness_makes_an_unseeded_generator() -> None:
    places = {
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        if part_of(module) != "randomness"
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.Call) and not node.args and not node.keywords
        if ast.unparse(node.func) in {"Random", "random.Random"}
    }
    assert places == set()


def test_files_are_short() -> None:
    lengths = {module: path.read_text(encoding="utf-8").count("\n") for module, path in MODULES.items()}
    assert {module: lines for module, lines in lengths.items() if lines > LONGEST_FILE} == {}
    assert statistics.median(lengths.values()) < MEDIAN_FILE


def test_functions_are_short() -> None:
    lengths = dict(functions())
    assert {place: lines for place, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}
    assert sum(lines < MOST_FUNCTIONS for lines in lengths.values()) >= 0.95 * len(lengths)
