"""Reading URLs."""

from __future__ import annotations

import pytest

from ratesync.errors import ConfigurationError
from ratesync.model.secret import Secret
from ratesync.redis.server.address import Address, Kind

SECRET = Secret("s3:cr/e@t")
QUOTED = "s3%3Acr%2Fe%40t"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address(Kind.SINGLE, (("localhost", 6379),))),
        ("redis://host/3", Address(Kind.SINGLE, (("host", 6379),), db=3)),
        ("redis://host:1?db=4", Address(Kind.SINGLE, (("host", 1),), db=4)),
        (f"redis://:{QUOTED}@[::1]:7", Address(Kind.SINGLE, (("::1", 7),), password=SECRET)),
        ("redis://[::1]", Address(Kind.SINGLE, (("::1", 6379),))),
        (
            f"rediss://me:{QUOTED}@host",
            Address(Kind.SINGLE, (("host", 6379),), is_tls=True, username="me", password=SECRET),
        ),
        ("rediss://host?ssl_ca_certs=/ca", Address(Kind.SINGLE, (("host", 6379),), is_tls=True, ssl_ca_certs="/ca")),
        ("unix:///run/redis?db=2", Address(Kind.SOCKET, path="/run/redis", db=2)),
        ("redis+cluster://a:1,b", Address(Kind.CLUSTER, (("a", 1), ("b", 6379)))),
        (
            f"redis+sentinel://a,b:2/jobs/1?sentinel_password={QUOTED}",
            Address(Kind.SENTINEL, (("a", 26379), ("b", 2)), service="jobs", db=1, sentinel_password=SECRET),
        ),
    ],
    ids=lambda value: value.partition("?")[0] if isinstance(value, str) else "",
)
def test_a_url_says_where_and_who(url: str, address: Address) -> None:
    found = Address.parse(url)
    assert found == address
    assert "s3" not in f"{found}{found!r}"


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{QUOTED}@host",
        f"redis://:{QUOTED}@host:port",
        f"redis://:{QUOTED}@host/db",
        f"redis://:{QUOTED}@host?retries=3",
        f"redis+cluster://:{QUOTED}@host/1",
        f"redis+sentinel://:{QUOTED}@host",
        "nothing",
    ],
)
def test_another_url_is_refused_and_its_password_not_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL") as error:
        Address.parse(url)
    assert "s3" not in str(error.value)
