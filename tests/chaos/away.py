"""When servers counted Redis as away, by their own logs: what P7 allows more time for, whatever the cause was."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

AWAY: Final = "Redis counts as away"
LOGGER: Final = b"core.storage.redis.link"
FOR_EVER: Final = float("inf")


def away_times(logs: Iterable[Path], *, offset_s: float) -> list[tuple[float, float]]:
    """Returns from when to when, in monotonic seconds; `offset_s` is the wall clock's lead over that.

    A process that ended in between has said nothing of its return: its next word of Redis, or its log's end, counts.
    """
    found = []
    for path in logs:
        since: float | None = None
        for line in path.read_bytes().splitlines():
            if LOGGER not in line:
                continue
            try:
                told = json.loads(line)
                at = datetime.fromisoformat(told["time"]).timestamp() - offset_s
            except (ValueError, KeyError):
                continue
            if since is not None:
                found.append((since, at))
                since = None
            if told["message"].startswith(AWAY):
                since = at
        if since is not None:
            found.append((since, FOR_EVER))
    return found
