"""The folder of one run: the queue, and where the CRM is that it syncs to. A run that was killed is found there.

    with RunFolder.entered(path) as folder:
        crm, is_new = folder.crm(options, "22000 records")
        ...                                  # sync, with folder.queue as the database
        folder.finish(crm)

The folder belongs to one process at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

from attrs import frozen

from .crm_options import CrmOptions
from .crm_process import CrmProcess, start_crm


class FolderRefused(RuntimeError):
    """The folder cannot be used, or another run is under way in it."""


@frozen
class RunFolder:
    """The folder of one run."""

    path: Path

    @classmethod
    @contextmanager
    def entered(cls, path: Path) -> Generator[Self]:
        """Make the folder if need be, and keep others out of it. The lock goes with the process, however that ends.

        Raises `FolderRefused`.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "lock").touch()
        except OSError as error:
            raise FolderRefused(f"{path} cannot be used: {error.strerror}; name another folder") from error
        with closing(sqlite3.connect(path / "lock", timeout=0.0, isolation_level=None)) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise FolderRefused(f"another run is under way in {path}") from error
            yield cls(path)

    @property
    def queue(self) -> Path:
        """The database of the queue and the state store."""
        return self.path / "queue.db"

    @property
    def _note(self) -> Path:
        return self.path / "run.json"

    def crm(self, options: CrmOptions, job: str) -> tuple[CrmProcess, bool]:
        """The CRM to sync to, and whether it is new: then nothing was done before.

        It is the one of the run that was interrupted here, if that had the same job and its CRM is still there.
        """
        known = self._known(options, job)
        if known is not None:
            return known, False
        self._clear()
        crm = start_crm(options)
        self._note.write_text(json.dumps({"job": job, "url": crm.url}), encoding="utf-8")
        return crm, True

    def _known(self, options: CrmOptions, job: str) -> CrmProcess | None:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            crm = CrmProcess(str(note["url"]), options)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if note.get("job") == job and self.queue.exists() and crm.is_there:
            return crm
        if crm.is_there:
            crm.stop()
        return None

    def finish(self, crm: CrmProcess) -> None:
        """Stop the CRM and forget the run: the next one starts anew."""
        crm.stop()
        self._clear()

    def _clear(self) -> None:
        for file in (self._note, *self.path.glob("queue.db*")):
            file.unlink(missing_ok=True)
