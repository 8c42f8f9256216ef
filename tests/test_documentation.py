"""Every Python block of the documentation is run, one process for each page.

``ACME_URL`` names the server of ``examples/acme.py``, which runs meanwhile. A page that shows tests is run by pytest.
A block that cannot be run says so to its reader: ``title="Not run: REASON"`` behind the word ``python``. A block that
shows a file of ``examples/`` (``--8<-- "examples/..."``) is run by test_examples.py.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.acme import running_acme

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)")
LANGUAGE = re.compile(r"\{?\s*\.?(?P<language>\w*)")
NOT_RUN = re.compile(r'title="Not run: (?P<reason>[^"]+)"')
INCLUDED = re.compile(r'--8<-- "(?P<path>[^":]+)')


@dataclass(frozen=True)
class Block:
    """A fenced block: its first line of code counts from 1."""

    info: str
    line: int
    code: str

    @property
    def language(self) -> str:
        match = LANGUAGE.match(self.info.strip())
        return match["language"].lower() if match else ""

    @property
    def is_python(self) -> bool:
        return self.language in {"py", "python", "python3", "pycon"}

    @property
    def is_run(self) -> bool:
        return self.is_python and not NOT_RUN.search(self.info) and not INCLUDED.search(self.code)


def blocks(page: str) -> Iterator[Block]:
    lines = iter(enumerate(page.splitlines(), start=1))
    for number, line in lines:
        if opening := FENCE.fullmatch(line):
            closing = opening["indent"] + opening["fence"]
            code: list[str] = []
            for _, inner in lines:
                if inner.rstrip() == closing:
                    break
                code.append(inner)
            else:
                pytest.fail(f"The block that opens at line {number} is not closed.")
            yield Block(opening["info"], number + 1, textwrap.dedent("\n".join(code)))


def script(page: str) -> str:
    """The page's blocks as one module, each on its own lines of the page, so that a traceback names them."""
    lines: list[str] = []
    for block in blocks(page):
        if block.is_run:
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.code.splitlines()
    return "\n".join(lines) + "\n"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def all_blocks() -> Iterator[tuple[Path, Block]]:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8")):
            yield page, block


WITH_CODE = list(dict.fromkeys(page for page, block in all_blocks() if block.is_run))


def shows_tests(code: str) -> bool:
    names = [
        node.name
        for node in ast.parse(code).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return any(name.lower().startswith("test") for name in names)


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_python_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    code = script(page.read_text(encoding="utf-8"))
    module = tmp_path / page.with_suffix(".py").name
    module.write_text(code, encoding="utf-8")
    tests = shows_tests(code)
    runner = ["-m", "pytest", "-p", "no:cacheprovider", "--import-mode=importlib"] if tests else []
    with running_acme(permits=10_000 if tests else 20) as acme:
        answer = subprocess.run(
            [sys.executable, "-W", "error", *runner, module],
            cwd=tmp_path,
            env=os.environ | {"ACME_URL": acme.url},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=50,
            check=False,
        )
    assert answer.returncode == 0, f"{name(page)} (same line numbers):\n{answer.stdout}\n{answer.stderr}"


def test_the_adapter_of_the_readme_is_that_of_the_quickstart() -> None:
    def adapter(code: str) -> list[str]:
        return [ast.unparse(node) for node in ast.parse(code).body if isinstance(node, ast.ClassDef)]

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    quickstart = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")
    (own,) = adapter(quickstart)
    assert own in adapter(script(readme))


def test_included_files_are_examples() -> None:
    paths = {match["path"] for _, block in all_blocks() for match in INCLUDED.finditer(block.code) if block.is_python}
    assert {path for path in paths if not path.startswith("examples/") or not (ROOT / path).is_file()} == set()


def test_python_is_not_hidden_behind_another_word() -> None:
    """A console transcript is not run, so it would go stale unseen."""
    hidden = {
        f"{name(page)}:{block.line}"
        for page, block in all_blocks()
        if block.language == "pycon" or (not block.language and ">>> " in block.code)
    }
    assert hidden == set()


def test_the_readme_starts_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shell = next(block for block in blocks(readme) if block.language in {"bash", "console", "sh", "shell"})
    commands = [line.split("#")[0].strip() for line in shell.code.splitlines()]
    assert commands[:2] == ["python noxfile.py demo", "python noxfile.py tests"]


def test_a_block_keeps_its_line_numbers() -> None:
    page = 'Text\n\n```python\nx = 1\n```\n\n1. Item\n\n    ```python title="a"\n    y = x\n    ```\n'
    assert script(page).splitlines() == ["", "", "", "x = 1", "", "", "", "", "", "y = x"]


def test_a_block_is_left_out_only_for_a_reason() -> None:
    run, left_out = blocks('```python\n```\n```python title="Not run: needs an account"\n```\n')
    assert (run.is_run, left_out.is_run) == (True, False)
