"""What a process of a running stack tells of itself."""

from __future__ import annotations

import urllib.request

from stack import Stack

ANSWER_S = 10


def metrics_of(stack: Stack, name: str) -> dict[str, float]:
    """The process's metrics, by name with labels."""
    address = stack.address(f"{name}-metrics")
    with urllib.request.urlopen(f"http://{address.host}:{address.port}/metrics", timeout=ANSWER_S) as response:
        lines = response.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
