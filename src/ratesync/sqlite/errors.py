"""What can be wrong with the file, each with what to do about it."""

from __future__ import annotations

import sqlite3

from ratesync.errors import ConfigurationError, QueueError


class SqliteTooOld(ConfigurationError):
    """Python's SQLite library lacks what is needed. Use a Python that was built with a newer one."""


class FileError(QueueError):
    """The database file could not be used as was asked; nothing of the call was done."""


class FileBusy(FileError):
    """Another process kept the file locked for too long. Try again; look for a process that holds a transaction."""


class FileCorrupt(FileError):
    """The file is damaged or is no database. Nothing is repaired by itself: put a copy in its place."""


class FileFull(FileError):
    """There is no space left for the file. Make room on the disk; what was accepted before is safe."""


class FileForbidden(FileError):
    """The file or its folder cannot be opened or written. Give this process the right, or another path."""


class FileForeign(FileError):
    """The file is the database of another program, which is left as it is. Give another path."""


class FileForked(FileError):
    """The file was open when this process was forked off. Fork before it is opened, or start processes anew."""


class NewerLayout(FileError):
    """The file was written by a newer version of ratesync. Upgrade this process."""


class Contradiction(sqlite3.DatabaseError):
    """What is in the file contradicts itself, so that it must be damaged. Raised by work inside a transaction."""


_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_PRIMARY = 0xFF
"""The part of an error code that tells the kind."""


def kind_of(error: Exception) -> int:
    """SQLite's primary error code; SQLITE_ERROR where there is none."""
    if isinstance(error, UnicodeDecodeError | Contradiction):  # text in SQLite's message about the file
        return sqlite3.SQLITE_CORRUPT
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python's own error: the only operational one is about text in the file
        return sqlite3.SQLITE_CORRUPT if type(error) is sqlite3.OperationalError else sqlite3.SQLITE_ERROR
    return code & _PRIMARY


OF_THE_FILE = (sqlite3.Error, UnicodeDecodeError)
"""What is raised where the file is at fault, not the call."""


def told(error: Exception, path: str) -> FileError:
    """The error in our own terms. Python's words for it are left out, as they quote what is in the file."""
    kind = kind_of(error)
    is_plain = hasattr(error, "sqlite_errorcode") or isinstance(error, Contradiction)
    words = str(error) if is_plain else type(error).__name__
    if kind in _BUSY:
        return FileBusy(
            f"{path}: another process kept the file locked for too long, so nothing was done. Try again; if it stays "
            "so, look for a process that holds a transaction open or was stopped in the middle of one."
        )
    if kind in _CORRUPT:
        return FileCorrupt(
            f"{path}: the file is damaged or is no SQLite database ({words}). Stop all processes that use it and put "
            "a copy in its place, or save what can be read by `sqlite3 FILE .recover`."
        )
    if kind == sqlite3.SQLITE_FULL:
        return FileFull(f"{path}: the disk is full, so nothing was done. Make room; what was accepted before is safe.")
    if kind in _FORBIDDEN:
        return FileForbidden(
            f"{path}: {words}, so nothing was done. The folder must exist, and this process must be allowed to write "
            "the file and to make files beside it."
        )
    return FileError(f"{path}: SQLite reports {words}. Nothing was done; look at the disk and at permissions.")
