"""Adapters of other distributions: found by entry point, and the template of one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import invalidate_caches
from pathlib import Path

import pytest

from ratesync.errors import ConfigurationError
from ratesync.http import Account
from ratesync.protocols import ProviderClient
from ratesync.providers.plugins import GROUP, InstalledProvider, installed_providers, load_provider
from tests.providers.test_kinto import lines_of_code

TEMPLATE = Path(__file__).parents[2] / "examples" / "provider_template"
LINES = 25

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution with one module on the path."""

    def installed(distribution: str, module: str, code: str, **points: str) -> None:
        folder = tmp_path / distribution
        lay_out(folder, distribution, "0.1.0", points)
        (folder / f"{module}.py").write_text(code, encoding="utf-8")
        put_on_path(monkeypatch, folder)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return installed


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    invalidate_caches()


def lay_out(folder: Path, distribution: str, version: str, points: dict[str, str]) -> None:
    """What an installer writes about a distribution."""
    about = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines))


GOOD = """
class Acme:
    name = "acme"
    capabilities = None
    async def execute(self, batch): ...
def make(): ...
"""


def test_what_is_installed_is_told_without_importing_it(install: Install) -> None:
    before = installed_providers()
    install("acme-sync", "acme_sync", "raise SystemExit", acme="acme_sync:Acme", zoo="acme_sync:make")
    told = [each for each in installed_providers() if each not in before]
    assert told == [
        InstalledProvider("acme", "acme_sync:Acme", "acme-sync 0.1.0"),
        InstalledProvider("zoo", "acme_sync:make", "acme-sync 0.1.0"),
    ]
    assert "acme_sync" not in sys.modules


def test_a_class_or_a_function_is_loaded(install: Install) -> None:
    install("acme-sync", "acme_sync", GOOD, acme="acme_sync:Acme", zoo="acme_sync:make")
    assert load_provider("acme").__name__ == "Acme"
    assert load_provider("zoo").__name__ == "make"


def test_a_name_that_is_not_there_is_answered_with_those_that_are(install: Install) -> None:
    with pytest.raises(ConfigurationError, match=r"no provider 'acne' is installed: (there are|no distribution here)"):
        load_provider("acne")
    install("acme-sync", "acme_sync", GOOD, acme="acme_sync:Acme")
    with pytest.raises(ConfigurationError, match=r"'acne' is installed: there are .*acme \(acme-sync 0\.1\.0\)"):
        load_provider("acne")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_that"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("Acme = 1 +", "cannot be imported: SyntaxError"),
        ("", "cannot be imported: AttributeError"),
        ("Acme = 7", "is a int, not a class or function"),
        ("class Acme: ...", "does not keep the ProviderClient protocol: execute is missing"),
        ("class Acme:\n    def execute(self, batch): ...", "execute must be an async method"),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution(install: Install, code: str, problem: str) -> None:
    install("acme-sync", "acme_sync", code, acme="acme_sync:Acme")
    with pytest.raises(ConfigurationError) as caught:
        load_provider("acme")
    message = str(caught.value)
    assert message.startswith("provider 'acme' of acme-sync 0.1.0 (acme_sync:Acme) ")
    assert problem in message


def test_two_of_one_name_are_not_chosen_between(install: Install) -> None:
    install("acme-sync", "acme_sync", GOOD, acme="acme_sync:Acme")
    install("acme-too", "acme_too", GOOD, acme="acme_too:Acme")
    with pytest.raises(ConfigurationError, match=r"offered by acme-sync 0\.1\.0 and acme-too 0\.1\.0"):
        load_provider("acme")


def test_the_adapter_of_the_template_is_short() -> None:
    assert lines_of_code(TEMPLATE / "src" / "ratesync_tickets" / "provider.py") <= LINES


def test_the_template_is_found_by_its_entry_point_and_passes_its_own_tests(tmp_path: Path) -> None:
    """As a distribution on the path, made of what its pyproject.toml says."""
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lay_out(tmp_path, project["name"], project["version"], project["entry-points"][GROUP])
    folders = [str(TEMPLATE / "src"), str(tmp_path), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
    check = (
        "from ratesync.http import Account\n"
        "from ratesync.providers.plugins import load_provider\n"
        "print(load_provider('tickets')(Account()))"
    )
    found = run(tmp_path, environment, "-c", check)
    assert found.strip() == "TicketsProvider('tickets')"
    told = run(TEMPLATE, environment, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert " passed" in told


def run(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert answer.returncode == 0, f"{answer.stdout}\n{answer.stderr}"
    return answer.stdout


def test_what_is_loaded_makes_an_adapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lay_out(tmp_path, project["name"], project["version"], project["entry-points"][GROUP])
    put_on_path(monkeypatch, TEMPLATE / "src")
    put_on_path(monkeypatch, tmp_path)
    made = load_provider("tickets")(Account())
    assert isinstance(made, ProviderClient)
    assert made.name == "tickets"
