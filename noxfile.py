# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.5.1"]
# ///
"""Every check of the project, for people and for CI alike.

``python noxfile.py tests`` needs only Python, pip and a package index: nox is installed into ``.nox`` if it is
missing. ``nox -s tests`` does the same where nox is installed. ``nox -l`` lists the sessions.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def run_with_own_nox() -> int:
    """Run this file again under a nox that lives in ``.nox``, and return its exit code.

    The environment is made without pip and filled by the running interpreter's pip: that works where Debian splits
    ensurepip off, and never touches an externally managed interpreter.
    """
    home = ROOT / ".nox" / "bootstrap-{}.{}".format(*sys.version_info)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    works = python.exists() and subprocess.run([python, "-c", "import nox"], capture_output=True, check=False)
    if not works or works.returncode:
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", home], check=True)
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "nox>=2025.5.1"]
        subprocess.run(install, check=True)
    return subprocess.run([python, __file__, *sys.argv[1:]], check=False).returncode


try:
    import nox
except ModuleNotFoundError:
    sys.exit(run_with_own_nox())

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"  # each session still installs, so a changed requirement is met
nox.options.sessions = ["lint", "types", "tests", "docs", "wheel"]

# Where Python is told to keep no bytecode, each of the many processes of the tests would compile all modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")


def groups(*names: str) -> tuple[str, ...]:
    """The requirements of dependency groups of pyproject.toml."""
    return nox.project.dependency_groups(PYPROJECT, *names)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy and pyright, both strict. Each uses one core, so they run at the same time."""
    session.install("-e.[all]", *groups("types"))
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(session.run, ["mypy", "pyright"]):
            pass


AT_ONCE = (f"-n{(os.cpu_count() or 2) * 3 // 2}", "--dist=worksteal")
"""More tests at once than there are cores: those of servers wait most of their time."""
UNTRACED = "trio or simulation or slow or hypothesis or machine or kill or nothing_behind or documentation or examples"
"""Traced, a test takes twice the time. So those on the other event loop are not, nor are long ones, nor those of
Hypothesis, which find no lines that other tests do not find."""


@nox.session
def tests(session: nox.Session) -> None:
    """All tests with branch coverage; ``-- ARGUMENTS`` go to pytest instead, without the coverage floors."""
    session.install("-e.[all]", *groups("test"))
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *AT_ONCE, "-k", f"not ({UNTRACED})")
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    session.run("coverage", "report", "--include=*/ratesync/rules/*", "--fail-under=100")
    session.run("pytest", *AT_ONCE, "-k", UNTRACED)


OF_THE_WHEEL = (
    "examples",
    "redis/test_limiter.py",
    "redis_base/test_backend.py",
    "test_documentation.py",
    "test_examples.py",
    "test_public_api.py",
)
"""The tests that a wheel can fail while the checkout passes: those that need its data files, and the main ways through
it. All the others ran against the same modules already."""

IMPORT_ALL = """
import importlib, pkgutil, ratesync
for module in pkgutil.walk_packages(ratesync.__path__, "ratesync."):
    if not module.name.startswith("ratesync.testing"):
        importlib.import_module(module.name)
"""


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Build the wheel and test it in an empty environment, away from the source."""
    with tempfile.TemporaryDirectory() as elsewhere:
        session.install("build")
        session.run("python", "-m", "build", "--outdir", elsewhere, silent=True)
        built = next(Path(elsewhere).glob("*.whl"))
        session.install(str(built))
        session.run("python", "-W", "error", "-c", IMPORT_ALL)  # before another package can stand in for a missing one
        session.install(f"{built}[all]", *groups("test"))
        copy = Path(elsewhere, "without-src")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("src", ".*", "__pycache__"))
        with session.chdir(copy):
            paths = [f"tests/{name}" for name in OF_THE_WHEEL]
            # Data files are there or not, on whichever event loop.
            chosen = ("-m", "not slow and not simulation", "-k", "not trio")
            session.run("pytest", *AT_ONCE, *chosen, *paths)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; every warning is an error. ``-- serve`` shows it while you write."""
    session.install("-e.", *groups("docs"))
    session.run("mkdocs", *(session.posargs or ("build", "--strict")), env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: sync a real data set to a rate-limited HTTP server and compare. ``-- --quick`` for a small one."""
    session.install("-e.[fast]", *groups("demo"))
    session.run("python", "-m", "examples.demo", *session.posargs)


@nox.session
def two_way(session: nox.Session) -> None:
    """Two-way sync with a real Kinto, killed again and again, and a comparison at the end."""
    session.install("-e.[sqlalchemy]", *groups("kinto"))
    session.run("python", "-m", "examples.two_way_sync", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """``-- NAME [--quick] [--json]`` runs ``benchmarks/NAME.py``."""
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))
    if not session.posargs or session.posargs[0] not in names:
        session.error(f"Name the benchmark to run: {', '.join(names)}.")
    name, *arguments = session.posargs
    session.install("-e.[all]", *groups(*(["queues"] if name == "queue" else ["bench", "demo"])))
    session.run("python", "-m", f"benchmarks.{name}", *arguments)


@nox.session
def simulate(session: nox.Session) -> None:
    """The deterministic simulations; ``-- SEEDS`` sets how many seeds (10,000), for two-way sync ten times as many."""
    session.install("-e.[all]", *groups("test"))
    seeds = session.posargs[0] if session.posargs else "10000"
    session.run(
        "pytest",
        "-nauto",
        "-m",
        "simulation",
        "--timeout=0",
        env={"RATESYNC_SEEDS": seeds, "RATESYNC_SYNC_TRIALS": str(10 * int(seeds))},
    )


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill workers, the Redis and two-way syncs; ``-- WORKERS SERVERS SYNCS`` sets how many are killed (500 50 500)."""
    session.install("-e.[all]", *groups("test"))
    usual = ("500", "50", "500")
    names = ("RATESYNC_CHAOS_WORKER_KILLS", "RATESYNC_CHAOS_SERVER_KILLS", "RATESYNC_CHAOS_SYNC_KILLS")
    kills: dict[str, str] = dict(zip(names, (*session.posargs, *usual[len(session.posargs) :]), strict=True))
    session.run("pytest", "-s", "tests/chaos/test_chaos.py", "tests/real_sync/test_kinto_kills.py", env=kills)


if __name__ == "__main__":
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    if names:
        sys.argv[1 : 1 + len(names)] = ["--session", *names]
    nox.main()
