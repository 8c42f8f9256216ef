from __future__ import annotations

from tests.servers.kinto_server import BATCH_LIMIT, Kinto

SCHEMA = {"type": "object", "properties": {"email": {"type": "string"}}, "required": ["email"]}


def test_kinto_creates_once_checks_conditions_and_validates(kinto: Kinto) -> None:
    records = kinto.create_collection("crm", "fixture_contacts", SCHEMA)
    with kinto.client() as client:
        once = {"if-none-match": "*"}
        created = client.put(f"{records}/c1", headers=once, json={"data": {"email": "ada@example.org"}})
        again = client.put(f"{records}/c1", headers=once, json={"data": {"email": "eve@example.org"}})
        updated = client.patch(f"{records}/c1", json={"data": {"name": "Ада"}})
        condition = {"if-match": created.headers["etag"]}
        stale = client.patch(f"{records}/c1", headers=condition, json={"data": {"name": "x"}})
        invalid = client.put(f"{records}/c2", json={"data": {"name": "no address"}})
    statuses = [answer.status_code for answer in (created, again, updated, stale, invalid)]
    assert statuses == [201, 412, 200, 412, 400]
    assert stale.json()["details"]["existing"]["name"] == "Ада"
    assert updated.headers["backoff"] == "1"


def test_kinto_limits_a_batch_and_answers_it_part_by_part(kinto: Kinto) -> None:
    records = kinto.create_collection("crm", "fixture_batch", SCHEMA).removeprefix(kinto.url)
    good, bad = {"data": {"email": "a@example.org"}}, {"data": {"name": "no address"}}
    parts = [{"method": "PUT", "path": f"{records}/{n}", "body": bad if n == 1 else good} for n in range(BATCH_LIMIT)]
    with kinto.client() as client:
        answer = client.post("/batch", json={"requests": parts})
        too_many = client.post("/batch", json={"requests": [*parts, parts[0]]})
    assert [part["status"] for part in answer.json()["responses"]] == [201, 400, *[201] * (BATCH_LIMIT - 2)]
    assert too_many.status_code == 400
