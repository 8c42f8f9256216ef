"""A batch endpoint in the manner of Kinto's for a `FaultServer`, whose answers can be spoilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field

from tests.servers.fault_server import Reply, Wire
from tests.servers.replies import json_answer

Json = dict[str, Any]
Spoil = Callable[[list[Json]], Any]
"""Makes the body of an answer out of the rows that it should have."""


@define
class BatchEndpoint:
    """Keeps records by path, and counts how often each was written."""

    records: dict[str, Json] = field(factory=dict[str, Json], init=False)
    writes: list[str] = field(factory=list[str], init=False)

    async def good(self, wire: Wire) -> None:
        """Carry the batch out and say so."""
        await self.spoilt(lambda rows: {"responses": rows})(wire)

    def spoilt(self, spoil: Spoil) -> Reply:
        """Carry the batch out and answer with something else."""

        async def reply(wire: Wire) -> None:
            rows = [self._carry_out(request) for request in json.loads(wire.request.body)["requests"]]
            await json_answer(spoil(rows))(wire)

        return reply

    def behind(self, answer: Reply) -> Reply:
        """Carry the batch out, and let another reply answer."""

        async def reply(wire: Wire) -> None:
            for request in json.loads(wire.request.body)["requests"]:
                self._carry_out(request)
            await answer(wire)

        return reply

    def _carry_out(self, request: Json) -> Json:
        path = request["path"]
        if request["method"] == "PUT" and path in self.records:
            return self._row(path, 412, {"details": {"existing": self.records[path]}})
        self.writes.append(path)
        record_id = path.rpartition("/")[2]
        self.records[path] = {**request["body"]["data"], "id": record_id, "last_modified": len(self.writes)}
        return self._row(path, 201, {"data": self.records[path]})

    def _row(self, path: str, status: int, body: Json) -> Json:
        return {"path": f"/v1{path}", "status": status, "headers": {}, "body": body}
