"""The smallest useful adapter, as the documentation shows it, is small."""

from __future__ import annotations

from pathlib import Path

from tests.providers.test_kinto import lines_of_code

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-adapter.md"
LINES = 25


def test_the_smallest_useful_adapter_has_at_most_25_lines(tmp_path: Path) -> None:
    _, _, behind = PAGE.read_text(encoding="utf-8").partition('```python title="25 lines at most"\n')
    code = behind.partition("\n```")[0]
    assert "async def execute" in code
    shown = tmp_path / "adapter.py"
    shown.write_text(code, encoding="utf-8")
    assert lines_of_code(shown) <= LINES
