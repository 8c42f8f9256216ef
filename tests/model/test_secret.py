from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from string import Formatter, Template

import attrs
import cattrs
import pytest
from cattrs.preconf.json import make_converter
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.secret import Secret

CANARY = "hunter2-canary"
SECRET = Secret(CANARY)


@attrs.frozen
class Settings:
    key: Secret
    more: list[Secret]


@dataclasses.dataclass
class Plain:
    key: Secret


SETTINGS = Settings(SECRET, [SECRET])

SHOWN: dict[str, Callable[[], object]] = {
    "repr": lambda: repr(SECRET),
    "str": lambda: str(SECRET),
    "ascii": lambda: ascii(SECRET),
    "format": lambda: format(SECRET, ">20"),
    "f-string": lambda: f"{SECRET} {SECRET!r} {SECRET!s:^30}",
    "percent": lambda: "%s %r" % (SECRET, SECRET),  # noqa: UP031
    "str.format": lambda: "{0} {0!r}".format(SECRET),  # noqa: UP032
    "template": lambda: Template("$key").substitute(key=SECRET),
    "formatter": lambda: Formatter().format("{}", SECRET),
    "container": lambda: repr([SECRET, {"key": SECRET}, (SECRET,)]),
    "pprint": lambda: pprint.pformat(SETTINGS),
    "attrs repr": lambda: repr(SETTINGS),
    "attrs.asdict": lambda: repr(attrs.asdict(SETTINGS)),
    "attrs.astuple": lambda: repr(attrs.astuple(SETTINGS)),
    "dataclasses.asdict": lambda: repr(dataclasses.asdict(Plain(SECRET))),
    "cattrs": lambda: repr(cattrs.unstructure(SETTINGS)),
    "cattrs json": lambda: repr(make_converter().unstructure(SETTINGS)),
    "json default": lambda: json.dumps(attrs.asdict(SETTINGS), default=str),
    "dir": lambda: repr([getattr(SECRET, name) for name in dir(SECRET) if not name.startswith("_")]),
    "copy": lambda: repr(copy.deepcopy([copy.copy(SECRET)])),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_it_shows_itself_nowhere(show: Callable[[], object]) -> None:
    assert CANARY not in str(show())


REFUSED: dict[str, Callable[[], object]] = {
    "pickle": lambda: pickle.dumps(SETTINGS),
    "pickle 2": lambda: pickle.dumps(SECRET, protocol=2),
    "json": lambda: json.dumps(SECRET),
    "cattrs json": lambda: make_converter().dumps(SETTINGS),
    "bytes": lambda: bytes(SECRET),  # type: ignore[call-overload]
    "vars": lambda: vars(SECRET),
    "iter": lambda: list(SECRET),  # type: ignore[call-overload]
    "getstate": SECRET.__getstate__,
    "add": lambda: "Bearer " + SECRET,  # type: ignore[operator]
}


@pytest.mark.parametrize("leak", REFUSED.values(), ids=REFUSED)
def test_it_refuses_to_be_written_down(leak: Callable[[], object]) -> None:
    with pytest.raises(TypeError) as caught:
        leak()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_logs_hold_the_mask(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("sent %s with %r", SECRET, SETTINGS)
    assert "***" in caplog.text
    assert CANARY not in caplog.text


def test_it_is_revealed_on_request_only() -> None:
    assert SECRET.reveal() == CANARY
    assert Secret.of(SECRET) is SECRET
    assert Secret.of(CANARY) == SECRET


@given(st.text(min_size=1), st.text(min_size=1))
def test_equal_secrets_are_equal_and_nothing_else_is(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one) != one


def test_a_lone_surrogate_can_be_compared() -> None:
    assert Secret("\ud800") == Secret("\ud800")


def test_a_secret_is_text_and_not_empty() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        Secret("")
    with pytest.raises(TypeError, match="<bytes>"):
        Secret(b"x")  # type: ignore[arg-type]
