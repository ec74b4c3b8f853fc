"""Runs `billow-admin` as an operator does."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple


class Ran(NamedTuple):
    """What a command did."""

    code: int
    stdout: str
    stderr: str


async def billow_admin(config: Path, *arguments: str) -> Ran:
    """Runs one command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "admin", *arguments, "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, stdout.decode(), stderr.decode())
