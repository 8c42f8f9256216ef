"""The tables. ``PRAGMA user_version`` counts their layouts, so that an older worker leaves a newer file alone."""

from __future__ import annotations

APPLICATION = 0x52537963
"""``PRAGMA application_id``: tells a file of ours from databases of other programs."""

_FIRST = (
    # One row. Counters that are given out, and sums that must not be counted anew.
    """CREATE TABLE totals (
        one INTEGER PRIMARY KEY,
        number INTEGER NOT NULL, token INTEGER NOT NULL, bell INTEGER NOT NULL, virtual_time REAL NOT NULL,
        pending INTEGER NOT NULL, finished INTEGER NOT NULL, dead INTEGER NOT NULL, deleted_revision INTEGER NOT NULL
    )""",
    "INSERT INTO totals VALUES (1, 0, 0, 0, 0.0, 0, 0, 0, 0)",
    """CREATE TABLE provider (
        name TEXT PRIMARY KEY, current REAL NOT NULL, latest REAL NOT NULL, ahead REAL NOT NULL, held_least INTEGER
    ) WITHOUT ROWID""",
    # What is open has a turn; what has a timer is woken. The flags spare the partial indexes most of the updates.
    """CREATE TABLE lane (
        number INTEGER PRIMARY KEY, provider TEXT NOT NULL, connection TEXT NOT NULL,
        weight REAL NOT NULL, virtual_time REAL NOT NULL, parked_until REAL NOT NULL, is_paused INTEGER NOT NULL,
        ready INTEGER NOT NULL, held INTEGER NOT NULL, scheduled INTEGER NOT NULL, available INTEGER NOT NULL,
        leased INTEGER NOT NULL, retryable INTEGER NOT NULL, dead INTEGER NOT NULL, known INTEGER NOT NULL,
        rests INTEGER NOT NULL, timer_at REAL, wake_at REAL,
        is_open INTEGER NOT NULL, is_busy INTEGER NOT NULL, is_idle INTEGER NOT NULL,
        UNIQUE (provider, connection)
    )""",
    "CREATE INDEX lane_turn ON lane (provider, virtual_time) WHERE is_open",
    "CREATE INDEX lane_timer ON lane (timer_at) WHERE timer_at IS NOT NULL",
    "CREATE INDEX lane_wake ON lane (provider, wake_at) WHERE wake_at IS NOT NULL",
    "CREATE INDEX lane_busy ON lane (provider, connection) WHERE is_busy",
    "CREATE INDEX lane_idle ON lane (provider, virtual_time) WHERE is_idle",
    # An operation. ``number`` is its place in its mailbox; ``lead`` is set on the most urgent one of a ready mailbox.
    """CREATE TABLE item (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, lane INTEGER NOT NULL, key TEXT NOT NULL,
        state INTEGER NOT NULL, is_boxed INTEGER NOT NULL, score REAL NOT NULL, lead REAL, is_urgent INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0, lapses INTEGER NOT NULL DEFAULT 0, sent_as INTEGER NOT NULL DEFAULT 0,
        enqueued_at REAL NOT NULL, at REAL, ended INTEGER, worker INTEGER, token INTEGER,
        is_wished INTEGER NOT NULL DEFAULT 0, priority NUMERIC NOT NULL, dedupe TEXT, result BLOB, body BLOB
    )""",
    "CREATE UNIQUE INDEX item_id ON item (id)",
    "CREATE INDEX item_box ON item (lane, key) WHERE is_boxed",
    "CREATE INDEX item_ready ON item (lane, lead) WHERE lead IS NOT NULL",
    "CREATE INDEX item_urgent ON item (lane, key, score) WHERE is_urgent IS NOT NULL",
    "CREATE INDEX item_due ON item (lane, at) WHERE state = 0",
    "CREATE INDEX item_lease ON item (worker, token) WHERE worker IS NOT NULL",
    "CREATE INDEX item_ended ON item (ended) WHERE state IN (4, 6)",
    "CREATE INDEX item_dead ON item (ended) WHERE state = 5",
    "CREATE UNIQUE INDEX item_dedupe ON item (lane, dedupe) WHERE dedupe IS NOT NULL",
    # Mailboxes that are not claimed before an instant.
    "CREATE TABLE rest (lane INTEGER, key TEXT, at REAL NOT NULL, PRIMARY KEY (lane, key)) WITHOUT ROWID",
    "CREATE INDEX rest_at ON rest (lane, at)",
    "CREATE TABLE worker (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, alive_at REAL NOT NULL)",
    # Mailboxes that a worker holds at a provider.
    """CREATE TABLE holding (
        worker INTEGER, provider TEXT, count INTEGER NOT NULL, PRIMARY KEY (worker, provider)
    ) WITHOUT ROWID""",
    "CREATE TABLE pause (number INTEGER PRIMARY KEY, provider TEXT, connection TEXT)",
    # Places of letters that are gone, for those who page through while letters go.
    "CREATE TABLE gone (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, ended INTEGER NOT NULL)",
    "CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""What brings a file from each layout to the next; that of a new file is 0. Their number is the version of today's."""
