"""The samples are those of the pages named beside them."""

from __future__ import annotations

import pytest

from ratesync.model.feedback import Reading
from ratesync.rules.rate_limit_fields import DAY, read_rate_limit_fields

NOW = 1_768_471_200.0  # 2026-01-15T10:00:00Z
HOUR = 3600.0


def read(fields: dict[str, str]) -> list[Reading]:
    return [reading for reading in read_rate_limit_fields(fields, NOW) if reading is not None]


@pytest.mark.parametrize(
    ("fields", "readings"),
    [
        pytest.param(
            {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"default";q=100;w=60'},
            [Reading(limit=100, remaining=50, reset_after=30.0, per=60.0)],
            id="one policy",
        ),
        pytest.param(
            # developers.cloudflare.com/fundamentals/api/reference/limits: the names do not agree there
            {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"burst";q=100;w=60'},
            [Reading(remaining=50, reset_after=30.0), Reading(limit=100, per=60.0)],
            id="cloudflare",
        ),
        pytest.param(
            {
                "ratelimit": '"burst";r=9;t=1, "daily";r=990',
                "ratelimit-policy": '"burst";q=10;w=1;pk=:Y2xpLTE=:,"daily";q=1000;w=86400',
            },
            [
                Reading(limit=10, remaining=9, reset_after=1.0, per=1.0),
                Reading(limit=1000, remaining=990, per=DAY),
            ],
            id="two policies",
        ),
        pytest.param(
            {
                "ratelimit": '"bytes";r=500;t=3, "calls";r=5',
                "ratelimit-policy": '"bytes";q=65535;qu="content-bytes";w=10,"calls";q=10;qu="requests"',
            },
            [Reading(limit=10, remaining=5)],
            id="a quota of bytes is no quota of calls",
        ),
        pytest.param(
            {"ratelimit-policy": '"peruser";q=0;w=60, "odd";q=x, "open";w=60'}, [], id="policies without a quota"
        ),
        pytest.param({"ratelimit": '"default", ;r=;t=5, "x";t=3'}, [], id="items without a number"),
        pytest.param({"ratelimit": '"default";r=-1'}, [], id="a negative remaining without a limit"),
    ],
)
def test_the_current_draft(fields: dict[str, str], readings: list[Reading]) -> None:
    """draft-ietf-httpapi-ratelimit-headers-08 to -11."""
    assert read(fields) == readings


@pytest.mark.parametrize(
    ("fields", "readings"),
    [
        pytest.param(
            # draft-ietf-httpapi-ratelimit-headers-07
            {"ratelimit": "limit=100, remaining=50, reset=30", "ratelimit-policy": "100;w=60, 1000;w=3600"},
            [Reading(limit=100, remaining=50, reset_after=30.0, per=60.0), Reading(limit=1000, per=HOUR)],
            id="a dictionary",
        ),
        pytest.param(
            {"ratelimit": "Limit=100, remaining=50"}, [Reading(limit=100, remaining=50)], id="names in any case"
        ),
        pytest.param(
            # draft-ietf-httpapi-ratelimit-headers-03, section 6
            {"ratelimit-limit": "100, 100;w=10", "ratelimit-remaining": "50", "ratelimit-reset": "5"},
            [Reading(limit=100, remaining=50, reset_after=5.0, per=10.0)],
            id="the policy beside the limit",
        ),
        pytest.param(
            {
                "ratelimit-limit": '10, 10;w=1;comment="fixed", 1000;w=3600',
                "ratelimit-remaining": "9",
                "ratelimit-reset": "1",
            },
            [Reading(limit=10, remaining=9, reset_after=1.0, per=1.0), Reading(limit=1000, per=HOUR)],
            id="two policies beside the limit",
        ),
        pytest.param(
            # draft-ietf-httpapi-ratelimit-headers-06
            {"ratelimit-limit": "5", "ratelimit-remaining": "4", "ratelimit-reset": "60", "ratelimit-policy": "5;w=60"},
            [Reading(limit=5, remaining=4, reset_after=60.0, per=60.0)],
            id="the policy in its own field",
        ),
        pytest.param(
            {"ratelimit-limit": "5", "ratelimit-remaining": "4", "ratelimit-policy": "5;w=1, 5;w=60"},
            [Reading(limit=5, remaining=4), Reading(limit=5, per=1.0), Reading(limit=5, per=60.0)],
            id="two policies of that limit",
        ),
    ],
)
def test_older_drafts(fields: dict[str, str], readings: list[Reading]) -> None:
    assert read(fields) == readings


@pytest.mark.parametrize(
    "reset",
    [
        "30",  # pipedrive.readme.io/docs/core-api-concepts-rate-limiting: seconds
        "1768471230",  # docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api: UTC epoch seconds
        "1768471230000",  # epoch milliseconds
        "2026-01-15T10:00:30Z",
        "2026-01-15 10:00:30",  # developers-classic.mailerlite.com/docs/api-rate-limits: a date and time
        "Thu, 15 Jan 2026 10:00:30 GMT",
    ],
)
@pytest.mark.parametrize("family", ["ratelimit", "x-ratelimit", "x-rate-limit", "x-acme-ratelimit"])
def test_the_common_three_fields_in_every_spelling(family: str, reset: str) -> None:
    fields = {f"{family}-limit": "40", f"{family}-remaining": "39", f"{family}-reset": reset}
    assert read(fields) == [Reading(limit=40, remaining=39, reset_after=30.0)]


@pytest.mark.parametrize(
    ("fields", "readings"),
    [
        pytest.param(
            # developer.konghq.com/plugins/rate-limiting
            {"x-ratelimit-limit-minute": "10", "x-ratelimit-remaining-minute": "9", "x-ratelimit-limit-hour": "100"},
            [Reading(limit=10, remaining=9, per=60.0), Reading(limit=100, per=HOUR)],
            id="kong",
        ),
        pytest.param(
            {
                "x-ratelimit-limit-second": "5",
                "x-ratelimit-remaining-second": "0",
                "x-ratelimit-reset-second": "1",
                "x-ratelimit-limit-day": "1000",
                "x-ratelimit-remaining-day": "996",
            },
            [Reading(limit=5, remaining=0, reset_after=1.0, per=1.0), Reading(limit=1000, remaining=996, per=DAY)],
            id="second and day",
        ),
        pytest.param(
            # developer.connecteam.com/docs/rate-limiting-1
            {"x-ratelimit-minute-limit": "100", "x-ratelimit-minute-remaining": "99"},
            [Reading(limit=100, remaining=99, per=60.0)],
            id="connecteam",
        ),
        pytest.param(
            # developers.hubspot.com/docs/guides/apps/api-usage/usage-details
            {
                "x-hubspot-ratelimit-daily": "250000",
                "x-hubspot-ratelimit-daily-remaining": "249776",
                "x-hubspot-ratelimit-interval-milliseconds": "10000",
                "x-hubspot-ratelimit-max": "100",
                "x-hubspot-ratelimit-remaining": "99",
                "x-hubspot-ratelimit-secondly": "10",
                "x-hubspot-ratelimit-secondly-remaining": "9",
            },
            [Reading(limit=250_000, remaining=249_776, per=DAY), Reading(limit=100, remaining=99, per=10.0)],
            id="hubspot, without the limit by the second that it no longer enforces",
        ),
        pytest.param(
            # marketplace.gohighlevel.com/docs/other/rate-limits
            {
                "x-ratelimit-limit-daily": "200000",
                "x-ratelimit-daily-remaining": "199999",
                "x-ratelimit-interval-milliseconds": "10000",
                "x-ratelimit-max": "100",
                "x-ratelimit-remaining": "99",
            },
            [Reading(limit=200_000, remaining=199_999, per=DAY), Reading(limit=100, remaining=99, per=10.0)],
            id="highlevel",
        ),
        pytest.param(
            # pipedrive.readme.io/docs/core-api-concepts-rate-limiting; the daily fields as seen in its answers
            {
                "x-daily-ratelimit-token-limit": "150000",
                "x-daily-ratelimit-token-remaining": "75000",
                "x-ratelimit-limit": "40",
                "x-ratelimit-remaining": "39",
                "x-ratelimit-reset": "2",
            },
            [
                Reading(limit=150_000, remaining=75_000, per=DAY),
                Reading(limit=40, remaining=39, reset_after=2.0),
            ],
            id="pipedrive",
        ),
        pytest.param(
            # docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
            {
                "x-ratelimit-limit": "5000",
                "x-ratelimit-remaining": "4987",
                "x-ratelimit-used": "13",
                "x-ratelimit-reset": "1768471260",
                "x-ratelimit-resource": "core",
            },
            [Reading(limit=5000, remaining=4987, reset_after=60.0, per=HOUR)],
            id="github",
        ),
        pytest.param(
            {"x-ratelimit-limit": "30", "x-ratelimit-used": "31", "x-ratelimit-resource": "search"},
            [Reading(limit=30, remaining=0, per=60.0)],
            id="what is used instead of what remains",
        ),
        pytest.param(
            {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "99", "x-ratelimit-resource": "dependency_snapshots"},
            [],
            id="a quota of github's that nobody declares",
        ),
        pytest.param(
            # discord.com/developers/docs/topics/rate-limits
            {
                "x-ratelimit-limit": "5",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1768471205",
                "x-ratelimit-reset-after": "1.5",
            },
            [Reading(limit=5, remaining=0, reset_after=1.5)],
            id="discord",
        ),
        pytest.param(
            # www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rate_limit_filter
            {
                "x-ratelimit-limit": '10, 10;w=1;name="per-ip", 1000;w=3600',
                "x-ratelimit-remaining": "9",
                "x-ratelimit-reset": "1",
            },
            [Reading(limit=10, remaining=9, reset_after=1.0, per=1.0), Reading(limit=1000, per=HOUR)],
            id="envoy",
        ),
        pytest.param(
            {"x-ratelimit-limit": "100, 50", "x-ratelimit-remaining": "99, 49"},
            [Reading(limit=100, remaining=99)],
            id="fields that came twice",
        ),
        pytest.param(
            {
                "x-ratelimit-limit": "unlimited",
                "x-ratelimit-remaining": "many",
                "x-ratelimit-interval-milliseconds": "?",
            },
            [],
            id="words",
        ),
        pytest.param({"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0"}, [], id="a limit of none"),
        pytest.param({"x-ratelimit-reset": "30"}, [], id="a reset of nothing"),
        pytest.param({"x-ratelimit-count": "3", "ratelimit-": "3", "rate-limits": "1"}, [], id="other names"),
    ],
)
def test_the_fields_of_providers(fields: dict[str, str], readings: list[Reading]) -> None:
    assert read(fields) == readings
