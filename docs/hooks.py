"""What the documentation draws from the code: mkdocs calls this while it builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

LIFECYCLE_DIAGRAM = "<!-- the lifecycle diagram -->"


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put the state diagram where explanation/lifecycle.md asks for it."""
    if page.file.src_uri != "explanation/lifecycle.md":
        return markdown
    from ratesync.rules.lifecycle import mermaid

    return markdown.replace(LIFECYCLE_DIAGRAM, f"```mermaid\n{mermaid().strip()}\n```")
