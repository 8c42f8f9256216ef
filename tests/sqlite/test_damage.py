"""Files that are damaged, foreign, forbidden or have no room. Each is reported, and nothing is half-done."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ratesync.errors import QueueError
from ratesync.model.work import Durability
from ratesync.sqlite import SqliteQueue, SqliteStateStore
from ratesync.sqlite.connection import connect
from ratesync.sqlite.errors import FileCorrupt, FileError, FileForbidden, FileForeign, NewerLayout
from ratesync.testing.queue_actions import claim, count, item, submit, take
from tests.secrecy.canary import told_by
from tests.sqlite.processes import FORBIDDEN, LIMITED, start

pytestmark = pytest.mark.anyio

PAGE = 4096


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2 // PAGE * PAGE]


def torn(content: bytes) -> bytes:
    return content[: len(content) - PAGE // 3]


def overwritten(content: bytes) -> bytes:
    return content[:PAGE] + random.Random(0).randbytes(len(content) - PAGE)


def without_header(content: bytes) -> bytes:
    return random.Random(0).randbytes(100) + content[100:]


def zeroed(content: bytes) -> bytes:
    return content[:PAGE] + bytes(len(content) - PAGE)


async def filled(path: Path) -> None:
    """A file with something in each table, all of it out of the log."""
    queue = SqliteQueue(path)
    await queue.open()
    await submit(queue, *(item(f"i{number}", body=bytes(100)) for number in range(500)))
    await take(queue, calls=1, size=10)
    await queue.close()


@pytest.mark.parametrize("damage", [truncated, torn, overwritten, without_header, zeroed])
async def test_a_damaged_file_is_reported_and_left_as_it_is(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "sync.db"
    await filled(path)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    queue = SqliteQueue(path)
    with pytest.raises(FileCorrupt, match=r"sync\.db.*copy in its place"):
        await use(queue)
    assert path.read_bytes() == damaged


async def use(queue: SqliteQueue) -> None:
    """All that may be asked of a queue."""
    await queue.open()
    try:
        await queue.get([f"i{number}" for number in range(500)])
        await claim(queue)
        await submit(queue, item("new"))
    finally:
        await queue.close()


async def test_random_damage_never_raises_anything_but_errors_of_the_queue(tmp_path: Path) -> None:
    path, draw = tmp_path / "sync.db", random.Random(1)
    await filled(path)
    sound = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(sound)
        for _ in range(draw.choice([1, 10, 1000])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        with suppress(QueueError):
            await use(SqliteQueue(path))


async def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE customers (name TEXT)")
        other.execute("PRAGMA user_version = 1")
    content = path.read_bytes()
    with pytest.raises(FileForeign, match=r"other\.db.*another program"):
        await SqliteQueue(path).open()
    assert path.read_bytes() == content


async def test_an_empty_file_becomes_a_queue(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    path.touch()
    queue = SqliteQueue(path)
    await queue.open()
    await submit(queue, item("a"))
    await queue.close()


async def test_a_newer_layout_stops_the_state_store_too(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    await filled(path)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerLayout, match="layout 99"):
        await SqliteStateStore(path).open()


async def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileForbidden, match="folder must exist"):
        await SqliteQueue(tmp_path / "nowhere" / "sync.db").open()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, as a process of root gives up its rights for the test."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def forbid_writing(path: Path) -> None:
    path.chmod(0o444)
    path.parent.chmod(0o555)


async def test_a_file_that_may_only_be_read_is_reported(open_folder: Path) -> None:
    path = open_folder / "sync.db"
    await filled(path)
    forbid_writing(path)
    content = path.read_bytes()
    with start(FORBIDDEN, str(path)) as process:
        told, _ = process.communicate(timeout=30)
    assert told.startswith("FileForbidden"), told
    assert "allowed to write" in told
    assert path.read_bytes() == content


async def test_a_file_that_may_not_grow_is_reported_and_goes_on_when_it_may(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    with start(LIMITED, str(path)) as process:
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert told.startswith(("FileFull", "FileError", "EnqueueUncertain")), told
    assert str(path) in told
    queue = SqliteQueue(path)
    await queue.open()
    assert (await count(queue)).pending == 1, "c, which came after"
    assert await queue.get(["b0"]) == [None]
    await queue.close()


async def test_after_an_error_the_same_queue_can_be_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "late" / "sync.db"
    queue = SqliteQueue(path)
    with pytest.raises(FileError):
        await queue.open()
    path.parent.mkdir()
    await queue.open()
    await submit(queue, item("a"))
    await queue.close()


async def test_what_stands_in_a_damaged_file_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    await filled(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "UPDATE item SET id = CAST(x'63616e617279ff' || number AS TEXT), key = CAST(x'63616e617279ff' AS TEXT)"
        )
        db.commit()
    queue = SqliteQueue(path)
    await queue.open()
    try:
        with pytest.raises(FileCorrupt) as caught:
            await claim(queue)
    finally:
        await queue.close()
    assert not [text for text in told_by(caught.value) if "canary" in text]


@pytest.mark.parametrize("content", [b"no database, and a canary in it" * 200])
async def test_an_error_at_opening_comes_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sync.db"
    path.write_bytes(content)
    with pytest.raises(FileCorrupt) as caught:
        connect(str(path), Durability.FSYNC)
    assert caught.value.__context__ is caught.value.__cause__ is None
