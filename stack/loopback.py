"""Questions over HTTP to processes on this machine."""

from __future__ import annotations

import http.client
from typing import Final

ANSWER_S: Final = 2.0


def get(port: int, path: str) -> str | None:
    """Returns what a process answers with status 200 within ANSWER_S, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        text = reply.read().decode()
    except (OSError, http.client.HTTPException, UnicodeDecodeError):
        return None
    finally:
        connection.close()
    return text if reply.status == 200 else None
