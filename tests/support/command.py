"""The `billow` command as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

PREFIX = "BILLOW_"


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it answered with --json."""
        return orjson.loads(self.out)


def environment(**variables: str) -> dict[str, str]:
    """Ours without any setting of the command, with these."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | variables


async def start(*arguments: str | Path, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Starts the command as from a terminal: tests in the background have Ctrl-C ignored, and children inherit that."""
    return await asyncio.create_subprocess_exec(
        "env",
        "--default-signal=INT",
        sys.executable,
        "-m",
        "billow.cli",
        *map(str, arguments),
        env=dict(env),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(*arguments: str | Path, env: Mapping[str, str]) -> Ended:
    """Runs the command to its end, at most a minute."""
    process = await start(*arguments, env=env)
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode or 0, out.decode(), err.decode())


def records(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def until(reached: Callable[[], bool]) -> None:
    """Waits for something that another process brings about; the test's own timeout bounds it."""
    while not reached():  # noqa: ASYNC110 - nobody in this process could set an event
        await asyncio.sleep(0.01)
