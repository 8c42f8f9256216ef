"""Turns the reStructuredText of docstrings into what the API reference can show."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|data|exc|func|meth|mod):`(?P<short>~?)(?P<target>[\w.]+)`")
LITERAL_BLOCK = re.compile(r"(?P<before>\S?):: *$", re.MULTILINE)


def linked(role: re.Match[str]) -> str:
    """The role as a link to the object's own documentation; plain code where there is none."""
    target = role["target"]
    text = target.rpartition(".")[2] if role["short"] else target
    return f'<autoref optional identifier="{target}"><code>{text}</code></autoref>'


def without_marker(block: re.Match[str]) -> str:
    """The line before a literal block: Markdown knows such a block by its indent alone."""
    return f"{block['before']}:" if block["before"] else ""


class DocstringMarkup(griffe.Extension):
    """Rewrites roles and literal blocks of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each object it has read."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(linked, LITERAL_BLOCK.sub(without_marker, obj.docstring.value))
