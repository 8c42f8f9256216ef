"""When this worker first saw operations whose attempt died with another worker."""

from __future__ import annotations

from attrs import define, field

_MOST = 10_000
"""Operations remembered. Who is forgotten waits once more, so it is only bounded."""


@define
class Doubts:
    """Notes when operations came back whose worker was lost: the attempt was made before, nobody knows when."""

    _seen: dict[str, float] = field(factory=dict[str, float], init=False)

    def left(self, operation_id: str, rest: float, now: float) -> float:
        """Seconds left of ``rest``, from when the operation was first asked about; at 0 it is forgotten."""
        left = self._seen.setdefault(operation_id, now) + rest - now
        if left > 0:
            while len(self._seen) > _MOST:
                del self._seen[next(iter(self._seen))]
            return left
        del self._seen[operation_id]
        return 0.0
