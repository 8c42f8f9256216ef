"""A commit: locked, compared, written, and its fate found out if the answer is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from zlib import crc32

from attrs import define

from ratesync.errors import StateConflict
from ratesync.model.stored import Write
from ratesync.postgres.connect import client
from ratesync.postgres.layout import STRIPES, check_version
from ratesync.postgres.statements import BEGIN, BOUND, COMMIT, ROLLBACK, Statements, ask

if TYPE_CHECKING:
    from ratesync.postgres.connect import Connection


@define
class Receipt:
    """By what one try is found in the table of writers, should its answer be lost."""

    call: str
    is_sent: bool = False
    """The commit was sent, so it may have happened; whether it was answered, too, nobody has told the caller yet."""
    revisions: Sequence[int] = ()


class Writers:
    """Names of rows in the table of writers, each used by one commit at a time. They are few, and used again."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._free = deque[str]()

    def new_name(self) -> str:
        """A name that nobody has had."""
        return f"{self._random.getrandbits(96):024x}"

    def take(self) -> str:
        """A name for a commit."""
        with suppress(IndexError):
            return self._free.pop()
        return self.new_name()

    def give_back(self, name: str) -> None:
        """The commit is over, and known to be."""
        self._free.append(name)


class Commit:
    """Makes all writes or none; the new revision of each.

    Whoever writes a key holds its stripe locked until the end of the transaction. So a try that has the lock knows that
    the one before it is over, and the row of its writer then tells whether it was committed.
    """

    name = "commit"

    def __init__(self, statements: Statements, writes: Sequence[Write], writers: Writers, seconds: float) -> None:
        self._statements = statements
        self._writes = writes
        self._writers = writers
        self._writer = ""
        self._bound = str(round(seconds * 1000))
        self._stripes = {write.key: stripe_of(write.key) for write in writes}
        self._last = Receipt("")
        self._doubted: Receipt | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether a commit was sent whose fate is not known."""
        return self._last.is_sent or self._doubted is not None

    def over(self) -> None:
        """The caller has the answer, or the refusal: others may have the name."""
        self._writers.give_back(self._writer)

    def attempt(self) -> Callable[[Connection], Sequence[int]]:
        """The next try. It has a receipt of its own, as the thread of the last one may not have noticed its end yet."""
        self._writer = self._writer or self._writers.take()
        if self._last.is_sent:
            self._doubted = self._last
        self._last = Receipt(self._writers.new_name())
        return partial(self._try, self._last)

    def _try(self, receipt: Receipt, connection: Connection) -> Sequence[int]:
        doubted = self._doubted
        last_call, deleted, current = self._look(connection)
        if doubted is not None:
            if doubted.call == last_call:
                connection.execute(ROLLBACK)
                return doubted.revisions
            if self._doubted is doubted:
                self._doubted = None
        try:
            receipt.revisions = decide(self._writes, current, {key: deleted[at] for key, at in self._stripes.items()})
        except StateConflict:
            connection.execute(ROLLBACK)
            raise
        try:
            self.write(connection, receipt, current)
        except client().Error as error:
            if error.sqlstate is not None and not connection.closed:  # so it was the statement that failed
                receipt.is_sent = False
            raise
        return receipt.revisions  # it stays in doubt, as this answer may come too late for the caller

    def _look(self, connection: Connection) -> tuple[str | None, dict[int, int], dict[str, int]]:
        """Lock the stripes, and look: the writer's last call, what was deleted, and what there is. One round trip."""
        statements = self._statements
        with connection.pipeline():
            connection.execute(BEGIN)
            connection.execute(BOUND, [self._bound, self._bound])
            locked = ask(connection, statements.lock, [sorted(set(self._stripes.values()))])
            book = ask(connection, statements.book, [self._writer])
            found = ask(connection, statements.find, [list(self._stripes)])
            deleted, current = dict[int, int](locked.fetchall()), dict[str, int](found.fetchall())
            ((version, last_call),) = book.fetchall()
        check_version(version, statements.schema)
        return last_call, deleted, current

    def write(self, connection: Connection, receipt: Receipt, current: Mapping[str, int]) -> None:
        """Write and commit: one round trip."""
        statements = self._statements
        revisions = zip(self._writes, receipt.revisions, strict=True)
        puts = [(write.key, bytes(write.value), revision) for write, revision in revisions if write.value is not None]
        gone = [write.key for write in self._writes if write.value is None and write.key in current]
        with connection.pipeline():
            if puts:
                connection.execute(statements.put, [list[Any](column) for column in zip(*puts, strict=True)])
            if gone:
                connection.execute(statements.delete, [gone])
                stripes = [self._stripes[key] for key in gone]
                connection.execute(statements.remember, [stripes, [current[key] for key in gone]])
            connection.execute(statements.sign, [self._writer, receipt.call])
            receipt.is_sent = True
            connection.execute(COMMIT)


def stripe_of(key: str) -> int:
    """The row that is locked by whoever writes the key. Part of the layout: the same for every version and process."""
    return crc32(key.encode()) % STRIPES


def decide(writes: Sequence[Write], current: Mapping[str, int], deleted: Mapping[str, int]) -> Sequence[int]:
    """The new revision of each write, 0 for a deleted key.

    :param current: revisions of the keys that exist.
    :param deleted: for each key a revision that is not below any it had before it was deleted.
    :raises StateConflict: an ``if_revision`` does not hold.
    """
    for write in writes:
        revision = current.get(write.key, 0)
        if write.if_revision is not None and write.if_revision != revision:
            raise StateConflict(
                f"key {write.key!r} has revision {revision}, not {write.if_revision}. Nothing was written.",
                key=write.key,
            )
    return [0 if write.value is None else current.get(write.key, deleted[write.key]) + 1 for write in writes]
