"""Golden documents: what a format's bytes are, kept in tests/golden and written anew with --update."""

from __future__ import annotations

from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def agrees(name: str, data: bytes, config: pytest.Config) -> bool:
    """Tells whether the bytes are the kept ones; with --update they become it."""
    path = GOLDEN / name
    if config.getoption("--update"):
        path.write_bytes(data)
    return path.read_bytes() == data
