"""What each error of the client comes to, by the texts that servers really send."""

from __future__ import annotations

from collections.abc import Callable

import coredis.exceptions as theirs
import pytest
from coredis.parser import Parser

from ratesync.redis.errors import AccessRefused, KeyClash, NewerLayout, NotReplicated, ServerFull, ServerReadsOnly
from ratesync.redis.server.link import LinkDown
from ratesync.redis.server.reply_error import After, Meaning, meaning
from ratesync.redis.server.resp import ReplyError
from ratesync.redis.server.wire import WireDown

RETRIED = [
    "LOADING Redis is loading the dataset in memory",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MOVED 3999 127.0.0.1:6381",
    "ASK 3999 127.0.0.1:6381",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
]
FINAL = [
    ("OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:1.", ServerFull),
    (
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        ServerReadsOnly,
    ),
    ("NOREPLICAS Not enough good replicas to write.", NotReplicated),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", KeyClash),
    ("WRONGPASS invalid username-password pair or user is disabled.", AccessRefused),
    ("NOAUTH Authentication required.", AccessRefused),
    ("NOPERM this user has no permissions to run the 'evalsha' command", AccessRefused),
]


def told(text: str) -> Exception:
    """The error that the client makes of an answer."""
    return Parser().parse_error(text)


@pytest.mark.parametrize("text", RETRIED, ids=lambda text: text.split()[0])
def test_what_passes_is_asked_again_and_was_surely_not_done(text: str) -> None:
    assert meaning(told(text)) == Meaning(After.RETRY)


def test_a_replica_is_left_for_the_primary() -> None:
    found = meaning(told("READONLY You can't write against a read only replica. script: 1f, on @user_script:1."))
    assert found == Meaning(After.RECONNECT)


@pytest.mark.parametrize(("text", "kind"), FINAL, ids=lambda value: value.split()[0] if isinstance(value, str) else "")
def test_what_does_not_pass_is_told_by_kind_with_advice(text: str, kind: type[Exception]) -> None:
    found = meaning(told(text))
    assert (found.after, found.kind, found.is_unknown) == (After.GIVE_UP, kind, False)
    assert found.advice


@pytest.mark.parametrize(
    "text",
    [
        "ERR Error running script (call to f_1f): @user_script:12: -OOM command not allowed when used memory.",
        "ERR Error running script (call to f_1f): @user_script:12: @user_script: 12: -OOM command not allowed.",
        "ERR Error running script (call to f_1f): @user_script: 7: OOM command not allowed.",
    ],
)
@pytest.mark.parametrize("as_told", [told, ReplyError], ids=["client", "wire"])
def test_redis_6_tells_of_a_command_that_failed_in_a_script(as_told: Callable[[str], Exception], text: str) -> None:
    found = meaning(as_told(text))
    assert (found.after, found.kind, found.is_unknown) == (After.GIVE_UP, ServerFull, False)


@pytest.mark.parametrize("text", ["OOM no", "LOADING wait", "READONLY no", "WRONGTYPE no", "ERR no", "NOSCRIPT no"])
def test_an_answer_on_a_wire_means_what_the_same_one_means_of_the_client(text: str) -> None:
    assert meaning(ReplyError(text)) == meaning(told(text))


def test_a_wire_that_broke_is_made_anew_and_what_was_sent_may_have_been_done() -> None:
    assert meaning(WireDown("broke")) == Meaning(After.RECONNECT, is_unknown=True)
    assert meaning(WireDown("was broken", is_sent=False)) == Meaning(After.RECONNECT)
    assert meaning(ReplyError("ERR max number of clients reached")) == Meaning(After.RECONNECT)


def test_another_answer_is_a_mistake_that_is_not_repeated() -> None:
    assert meaning(told("ERR Error running script")) == Meaning(After.GIVE_UP)


@pytest.mark.parametrize(
    ("error", "is_unknown"),
    [
        (theirs.ConnectionError("Connection lost while receiving response"), True),
        (theirs.ConnectionError("Connection lost!"), True),
        (TimeoutError("EVALSHA timed out after 2 seconds"), True),
        (TimeoutError(), True),
        (theirs.ConnectionError("Unable to establish a connection to 127.0.0.1:1"), False),
        (theirs.ConnectionError("Connection not usable"), False),
        (told("ERR max number of clients reached"), False),
        (theirs.PrimaryNotFoundError("No primary found for 'jobs'"), False),
        (theirs.StalePrimaryError("it reports a role of slave"), False),
        (LinkDown(TimeoutError()), False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_lost_connection_is_made_anew_and_what_was_sent_may_have_been_done(
    error: Exception, *, is_unknown: bool
) -> None:
    assert meaning(error) == Meaning(After.RECONNECT, is_unknown=is_unknown)


def test_a_server_that_cannot_be_used_is_told_as_it_is() -> None:
    found = meaning(LinkDown(NewerLayout("layout 2")))
    assert (found.after, found.kind) == (After.GIVE_UP, NewerLayout)
