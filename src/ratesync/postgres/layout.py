"""The tables, and how older ones become these.

A number counts their layouts, so that an older worker leaves a newer schema alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ratesync.errors import ConfigurationError
from ratesync.postgres.errors import NewerLayout, ServerUnfit

if TYPE_CHECKING:
    import psycopg

STRIPES = 256
"""Keys are spread over so many rows, one of which is locked by whoever writes such a key: 0 to 255, see below."""

OLDEST_SERVER = 130_000
LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # By code point, as Python sorts, whatever the database's own order is.
        'CREATE TABLE {schema}.state (key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL, revision int8 NOT NULL)',
        # A new key's revision is above that of every key of its stripe that was deleted before.
        "CREATE TABLE {schema}.stripe (stripe integer PRIMARY KEY, deleted_revision bigint NOT NULL)",
        "INSERT INTO {schema}.stripe SELECT number, 0 FROM generate_series(0, 255) AS number",
        # What each writer committed last, so that it can find out the fate of a commit whose answer was lost.
        "CREATE TABLE {schema}.writer (name text PRIMARY KEY, call text NOT NULL, at timestamptz NOT NULL)",
    ),
)
"""The statements that lead from each layout to the next; the first ones from an empty schema. They have the time of one
try, so what takes longer for large tables must be done in pieces."""

LOCK_WAIT = "2s"
"""Who migrates waits no longer for those who are at work, as the next ones wait behind it."""

_BOUND = "SELECT set_config('lock_timeout', %s, true)"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('ratesync'), hashtext(%s))"
_SERVER = "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')"
# Asked of the tables themselves: functions such as to_regclass() may answer from before a lock was waited for.
_HAS_LAYOUT = """SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relname = 'layout')"""
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
_VERSION = "SELECT version FROM {schema}.layout"
_CREATE = "CREATE TABLE {schema}.layout (one integer PRIMARY KEY CHECK (one = 1), version integer NOT NULL)"
_BEGIN = "INSERT INTO {schema}.layout VALUES (1, 0)"
_MOVE = "UPDATE {schema}.layout SET version = %s"
_WITHIN = "BEGIN ISOLATION LEVEL READ COMMITTED"


class Schema:
    """A schema by its name, and the statements that concern it.

    :raises ConfigurationError: the name cannot be that of a schema of ours.
    """

    def __init__(self, name: str) -> None:
        if not 0 < len(name.encode()) <= LONGEST_NAME or "\0" in name or name.startswith("pg_"):
            raise ConfigurationError(
                f"schema {name[:40]!r}: must have 1 to {LONGEST_NAME} bytes, no NUL, and not begin with pg_"
            )
        self.name = name
        self.quoted = '"' + name.replace('"', '""') + '"'

    def statement(self, text: str) -> bytes:
        """A statement with ``{schema}`` filled in."""
        return text.replace("{schema}", self.quoted.replace("%", "%%") if "%s" in text else self.quoted).encode()


def migrate(connection: psycopg.Connection[Any], schema: Schema) -> None:
    """Make the tables what this version needs, if they are not. Any number of processes may do so at once.

    :raises NewerLayout: a newer version of ratesync has laid them out; nothing was changed.
    :raises ServerUnfit: the server is too old, or its encoding is another one than UTF-8.
    """
    _check_server(connection)
    if _version(connection, schema) == len(MIGRATIONS):
        return
    connection.execute(_WITHIN.encode())
    connection.execute(_BOUND.encode(), [LOCK_WAIT])
    connection.execute(_LOCK.encode(), [schema.name])
    version = _version(connection, schema)
    if version < 0:
        if not _asked(connection, _HAS_SCHEMA.encode(), [schema.name]):
            connection.execute(schema.statement("CREATE SCHEMA {schema}"))
        connection.execute(schema.statement(_CREATE))
        connection.execute(schema.statement(_BEGIN))
        version = 0
    elif version:
        # What others have begun ends first; what they begin next sees the new layout.
        connection.execute(schema.statement("LOCK TABLE {schema}.stripe, {schema}.state IN ACCESS EXCLUSIVE MODE"))
    for step in MIGRATIONS[version:]:
        for text in step:
            connection.execute(schema.statement(text))
    connection.execute(schema.statement(_MOVE), [len(MIGRATIONS)])
    connection.execute(b"COMMIT")


def check_version(version: int, schema: Schema) -> None:
    """Refuse a layout that this version does not know.

    :raises NewerLayout: it is newer.
    """
    if version > len(MIGRATIONS):
        raise NewerLayout(
            f"schema {schema.name!r} has layout {version}, this ratesync knows layouts up to {len(MIGRATIONS)}. "
            f"Nothing was done. Upgrade this process."
        )


def _version(connection: psycopg.Connection[Any], schema: Schema) -> int:
    """The layout that the schema has; -1 if none."""
    if not _asked(connection, _HAS_LAYOUT.encode(), [schema.name]):
        return -1
    version = int(_asked(connection, schema.statement(_VERSION), []))
    check_version(version, schema)
    return version


def _asked(connection: psycopg.Connection[Any], statement: bytes, values: list[Any]) -> Any:
    return _row(connection, statement, values)[0]


def _row(connection: psycopg.Connection[Any], statement: bytes, values: list[Any]) -> tuple[Any, ...]:
    from psycopg.rows import tuple_row

    row = connection.cursor(row_factory=tuple_row).execute(statement, values or None).fetchone()
    if row is None:
        raise NewerLayout("the table `layout` of ratesync is empty: some other program has changed it.")
    return row


def _check_server(connection: psycopg.Connection[Any]) -> None:
    version, encoding = _row(connection, _SERVER.encode(), [])
    if version < OLDEST_SERVER:
        raise ServerUnfit(f"PostgreSQL {version // 10_000} is too old: 13 or newer is needed.")
    if encoding != "UTF8":
        raise ServerUnfit(f"the database is encoded in {encoding}, so not every key fits. Make one in UTF8.")
