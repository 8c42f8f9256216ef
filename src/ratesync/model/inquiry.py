"""What an adapter is asked for besides carrying out operations."""

from __future__ import annotations

from enum import StrEnum


class Inquiry(StrEnum):
    """A call that is about no operation, by the method of the adapter that makes it."""

    CHANGES = "changes"
    """``pull_changes``"""
    LISTING = "listing"
    """``list_records``"""
    FIND = "find"
    """``find``"""
    LOOKUP = "lookup"
    """``lookup``"""
    DESCRIPTION = "description"
    """``describe``"""
