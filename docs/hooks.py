"""What the documentation draws from the code: mkdocs calls this while it builds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

LIFECYCLE_DIAGRAM = "<!-- the lifecycle diagram -->"
FILES = "<!-- the files -->"
SOURCES = Path(__file__).parent.parent / "src" / "ratesync"


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put the state diagram and the list of files where their pages ask for them."""
    match page.file.src_uri:
        case "explanation/lifecycle.md":
            from ratesync.rules.lifecycle import mermaid

            return markdown.replace(LIFECYCLE_DIAGRAM, f"```mermaid\n{mermaid().strip()}\n```")
        case "reference/files.md":
            return markdown.replace(FILES, "\n".join(file_tables(SOURCES)))
        case _:
            return markdown


def file_tables(sources: Path) -> Iterator[str]:
    """Lines of Markdown: a table for each folder, with the first line of each file's docstring."""
    for folder in sorted({file.parent for file in sources.rglob("*.py")}):
        part = folder.relative_to(sources)
        yield f"\n## {'ratesync' if part == Path() else part.as_posix() + '/'}\n"
        yield "| file | what it is for |"
        yield "|---|---|"
        for file in sorted(folder.glob("*.py")):
            text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
            if file.stem != "__init__":
                yield f"| `{file.stem}` | {first_line(text)} |"


def first_line(text: str) -> str:
    """The first line, with what Markdown's tables cannot show as code."""
    return text.partition("\n")[0].replace("|", "\\|").replace("``", "`")
