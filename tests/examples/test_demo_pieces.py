from __future__ import annotations

import json
import socket
import time
import unicodedata
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.demo.crm_account import AccountDesk, Mishaps
from examples.demo.crm_options import DEMO_ACCOUNTS, CrmAccount, CrmOptions, Window
from examples.demo.crm_process import CrmProcess, running_crm
from examples.demo.crm_quota import SlidingWindows, retry_after_header
from examples.demo.crm_store import Write
from examples.demo.dataset import FULL_SIZE, QUICK_SIZE, expected_state, plan

SHARES = {account.name: account.per_second for account in DEMO_ACCOUNTS}
WIDE = (Window(100_000, 1.0),)


class TestDataset:
    def test_plan_is_a_function_of_its_seed(self) -> None:
        assert plan(records=50, shares=SHARES, seed=1) == plan(records=50, shares=SHARES, seed=1)
        assert plan(records=50, shares=SHARES, seed=1) != plan(records=50, shares=SHARES, seed=2)

    def test_full_plan_has_twenty_thousand_records_of_many_scripts_on_all_connections(self) -> None:
        operations = plan(records=FULL_SIZE, shares=SHARES, seed=1)
        created = {(operation.connection, operation.record_id) for operation in operations}
        assert len(created) == FULL_SIZE >= 20_000
        assert {connection for connection, _ in created} == set(SHARES)
        assert {operation.action for operation in operations} == {"create", "update", "delete"}
        letters = {
            letter for operation in operations[:2_000] for letter in json.dumps(operation.fields, ensure_ascii=False)
        }
        scripts = {unicodedata.name(letter, "?").split()[0] for letter in letters if letter.isalpha()}
        assert scripts >= {"LATIN", "CYRILLIC", "ARABIC", "HEBREW", "GREEK", "CJK", "HANGUL", "DEVANAGARI", "THAI"}

    @given(records=st.integers(1, 60), seed=st.integers(0, 2**32))
    def test_versions_count_up_and_each_operation_fits_the_state_it_meets(self, records: int, seed: int) -> None:
        versions: dict[str, int] = {}
        alive: set[str] = set()
        for _, action, record_id, version, fields in plan(records=records, shares=SHARES, seed=seed):
            assert version == versions.get(record_id, 0) + 1
            assert fields == {} if action == "delete" else fields["version"] == version
            assert (record_id in alive) == (action != "create")
            versions[record_id] = version
            (alive.discard if action == "delete" else alive.add)(record_id)
        assert len(versions) == records

    @given(seed=st.integers(0, 2**32), data=st.data())
    def test_each_lost_update_shows_in_the_final_state(self, seed: int, data: st.DataObject) -> None:
        operations = plan(records=40, shares=SHARES, seed=seed)
        deleted = {operation.record_id for operation in operations if operation.action == "delete"}
        updates = [row for row in operations if row.action == "update" and row.record_id not in deleted]
        lost = data.draw(st.sampled_from(updates))
        assert expected_state(operations) != expected_state([row for row in operations if row is not lost])

    def test_quick_plan_is_small(self) -> None:
        assert QUICK_SIZE == 1_000 <= len(plan(records=QUICK_SIZE, shares=SHARES, seed=1)) < 2_000

    def test_more_records_than_cities_are_refused(self) -> None:
        with pytest.raises(ValueError, match="there are"):
            plan(records=10_000_000, shares=SHARES, seed=1)


WINDOW_SETS = st.lists(st.builds(Window, st.integers(1, 4), st.sampled_from([1.0, 2.5, 10.0])), min_size=1, max_size=3)
GAPS = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]), max_size=60)


class TestStrictWindows:
    @given(windows=WINDOW_SETS, gaps=GAPS)
    def test_a_request_is_accepted_exactly_when_every_window_has_room(
        self, windows: list[Window], gaps: list[float]
    ) -> None:
        quota = SlidingWindows(tuple(windows))
        accepted: list[float] = []
        now = 0.0
        for gap in gaps:
            now += gap
            fits = all(sum(at > now - w.per for at in accepted) < w.permits for w in windows)
            assert (quota.arrive(now) == 0.0) == fits
            if fits:
                accepted.append(now)
        for log in quota.logs:
            held = [sum(at - log.window.per < other <= at for other in accepted) for at in accepted]
            assert log.peak_accepted == max(held, default=0) <= log.window.permits

    @given(windows=WINDOW_SETS, gaps=GAPS)
    def test_who_waits_as_told_is_accepted_next(self, windows: list[Window], gaps: list[float]) -> None:
        quota = SlidingWindows(tuple(windows))
        now = 0.0
        for gap in gaps:
            now += gap
            wait = quota.arrive(now)
            if wait > 0.0:
                now += wait + 1e-6
                assert quota.arrive(now) == 0.0

    def test_refused_requests_use_up_quota_where_they_count(self) -> None:
        lenient, strict = SlidingWindows((Window(1, 1.0),)), SlidingWindows((Window(1, 1.0),), count_refused=True)
        knocks = [0.0, 0.6, 1.2, 1.8]
        assert [lenient.arrive(at) == 0.0 for at in knocks] == [True, False, True, False]
        assert [strict.arrive(at) == 0.0 for at in knocks] == [True, False, False, False]
        assert strict.arrive(3.0) == 0.0

    def test_retry_after_is_rounded_up(self) -> None:
        assert retry_after_header(1.2341, "seconds") == "2"
        assert retry_after_header(1.2341, "fraction") == "1.235"
        assert retry_after_header(1.2341, "none") is None


@pytest.fixture(scope="module")
def crm() -> Iterator[CrmProcess]:
    accounts = (
        CrmAccount("wide", "token-wide", WIDE),
        CrmAccount("narrow", "token-narrow", (Window(3, 60.0), Window(100, 600.0))),
        CrmAccount("single", "token-single", (Window(1, 60.0),)),
    )
    with running_crm(CrmOptions(accounts=accounts, latency=(0.0, 0.0), error_rate=0.0)) as process:
        yield process


@pytest.fixture(scope="module")
def customer(crm: CrmProcess) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer token-wide"}
    with httpx.Client(base_url=f"{crm.url}/accounts/wide", headers=headers, trust_env=False) as client:
        yield client


class TestServer:
    def test_create_once_update_condition_and_delete(self, customer: httpx.Client) -> None:
        path = "/cities/1-Zürich%20%2F%20Höngg"
        created = customer.put(path, headers={"if-none-match": "*"}, json={"name": "Zürich", "size": {"a": 1, "b": 2}})
        again = customer.put(path, headers={"if-none-match": "*"}, json={"name": "x"})
        updated = customer.patch(
            path, headers={"if-match": created.headers["etag"]}, json={"size": {"a": None, "c": 3}}
        )
        stale = customer.patch(path, headers={"if-match": created.headers["etag"]}, json={"name": "y"})
        assert [answer.status_code for answer in (created, again, updated, stale)] == [201, 412, 200, 412]
        assert again.json()["current"]["name"] == "Zürich"
        assert updated.json() == {"id": "1-Zürich / Höngg", "name": "Zürich", "size": {"b": 2, "c": 3}}
        assert stale.headers["etag"] == updated.headers["etag"] == customer.get(path).headers["etag"]
        assert customer.delete(path, headers={"if-match": created.headers["etag"]}).status_code == 412
        assert [customer.delete(path).status_code, customer.delete(path).status_code] == [204, 404]
        assert [customer.patch(path, json={}).status_code, customer.get(path).status_code] == [404, 404]

    def test_post_with_a_key_is_done_once(self, customer: httpx.Client) -> None:
        key = {"idempotency-key": "k-1"}
        first, second = (customer.post("/deals", headers=key, json={"name": "ß"}) for _ in range(2))
        other = customer.post("/deals", headers=key, json={"name": "ẞ"})
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        assert other.status_code == 422
        assert customer.post("/deals", json={"name": "ß"}).json()["id"] != first.json()["id"]

    def test_a_batch_answers_row_by_row_in_order(self, customer: httpx.Client) -> None:
        def row(action: str, record_id: str, **more: object) -> dict[str, object]:
            return {"action": action, "id": record_id, "fields": {"n": 1}, **more}

        rows = [row("create", "b1"), row("create", "b1"), row("update", "b2"), row("update", "b1", if_match='"0"')]
        answer = customer.post("/batched:batch", json={"rows": [*rows, row("delete", "b1")]})
        assert [(result["id"], result["status"]) for result in answer.json()["results"]] == [
            ("b1", 201),
            ("b1", 412),
            ("b2", 404),
            ("b1", 412),
            ("b1", 204),
        ]
        assert (
            customer.post("/batched:batch", json={"rows": [row("create", str(n)) for n in range(101)]}).status_code
            == 400
        )

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"n": NaN}', b'{"n": "\\ud800"}', b'{"id": "other"}'])
    def test_a_body_that_is_no_record_changes_nothing(self, customer: httpx.Client, body: bytes) -> None:
        assert customer.put("/cities/bad", content=body).status_code in (400, 422)
        assert customer.get("/cities/bad").status_code == 404

    def test_a_token_opens_its_own_account_only(self, crm: CrmProcess) -> None:
        with httpx.Client(base_url=crm.url, trust_env=False) as stranger:
            assert stranger.get("/accounts/wide/cities/1").status_code == 401
            token = {"authorization": "Bearer token-narrow"}
            assert stranger.get("/accounts/wide/cities/1", headers=token).status_code == 403

    def test_a_request_counts_from_its_arrival_on_while_its_body_is_still_on_the_way(self, crm: CrmProcess) -> None:
        url, headers = httpx.URL(f"{crm.url}/accounts/single/cities/1"), {"authorization": "Bearer token-single"}
        request = httpx.Request("PUT", url, headers=headers, content=b"{}")
        head = [
            b"PUT /accounts/single/cities/1 HTTP/1.1",
            *(b": ".join(pair) for pair in request.headers.raw),
            b"",
            b"",
        ]
        with socket.create_connection(("127.0.0.1", url.port), timeout=10) as slow:
            slow.sendall(b"\r\n".join(head))
            while not crm.report()["single"].accepted_at:
                time.sleep(0.01)
            assert httpx.put(url, headers=headers, json={}, trust_env=False).status_code == 429
            slow.sendall(b"{}")
            assert slow.recv(100).startswith(b"HTTP/1.1 201")

    def test_the_strict_windows_refuse_what_is_too_much_and_report_it(self, crm: CrmProcess) -> None:
        headers = {"authorization": "Bearer token-narrow"}
        with httpx.Client(base_url=f"{crm.url}/accounts/narrow", headers=headers, trust_env=False) as client:
            answers = [client.put(f"/cities/{n}", json={"version": 1}) for n in range(5)]
        assert [answer.status_code for answer in answers] == [201, 201, 201, 429, 429]
        assert 50 < int(answers[3].headers["retry-after"]) <= 60
        report = crm.report()["narrow"]
        assert (report.counts["requests"], report.counts["accepted"], report.counts["refused"]) == (5, 3, 2)
        assert report.peaks == (5, 5)
        assert len(report.accepted_at) == len(report.records) == len(report.applications) == 3


def desk(error_rate: float) -> AccountDesk:
    account = CrmAccount("wide", "token-wide", WIDE)
    options = CrmOptions(accounts=(account,), error_rate=error_rate, seed=5)
    return AccountDesk(account, options, Mishaps(options))


class TestServerErrors:
    def test_half_of_the_errors_strike_before_the_write_and_half_after(self) -> None:
        struck = desk(error_rate=0.2)
        writes = [Write(action="create", resource="r", record_id=str(n), version=n) for n in range(2_000)]
        statuses = [struck.write(write).status for write in writes]
        before, after = struck.counts["errors_before"], struck.counts["errors_after"]
        assert statuses.count(500) == before + after == pytest.approx(400, rel=0.2)
        assert before == pytest.approx(after, rel=0.3)
        assert len(struck.store.records) == 2_000 - before
        assert sum(application.answered == 500 for application in struck.store.applications) == after

    def test_a_create_whose_success_was_hidden_is_refused_the_second_time_and_not_applied_again(self) -> None:
        struck = desk(error_rate=1.0)
        write = Write(action="create", resource="r", record_id="1", version=1)
        while not struck.store.records:
            assert struck.write(write).status == 500
        assert struck.store.apply(write).status == 412
        assert len(struck.store.applications) == 1

    def test_a_key_repeats_the_true_answer_that_got_lost(self) -> None:
        struck = desk(error_rate=1.0)
        write = Write(action="create", resource="r", record_id="1", key="k")
        while not struck.store.records:
            assert struck.write(write, b"request").status == 500
        assert struck.write(write, b"request").status == 201
        assert len(struck.store.applications) == 1

    def test_batch_rows_fail_one_by_one_and_a_struck_batch_is_applied_whole_or_not_at_all(self) -> None:
        struck = desk(error_rate=0.3)
        partial = 0
        for batch in range(100):
            writes = [Write(action="create", resource="r", record_id=f"{batch}-{n}") for n in range(10)]
            answer = struck.write_many(writes)
            applied = sum(("r", write.record_id) in struck.store.records for write in writes)
            if answer.status == 500:
                assert applied in (0, 10)
            else:
                statuses = [result["status"] for result in json.loads(answer.body)["results"]]
                partial += 500 in statuses and 201 in statuses
                assert statuses.count(201) <= applied
        assert partial > 20


def test_options_survive_the_way_to_the_server_process() -> None:
    options = CrmOptions(accounts=DEMO_ACCOUNTS, retry_after="fraction", count_refused=True, seed=9)
    assert CrmOptions.from_json(options.to_json()) == options
    assert "token-of-acme" not in repr(options)
