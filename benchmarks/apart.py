"""A load from a process of its own, so that it does not slow the clock of the calls watched beside it.

The module's main program reads its order as JSON from standard input, waits for its time, makes the load, and prints
what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

START_S: Final = 2.5  # Python and grpc are loaded within this, also of several processes at once


async def run(module: str, order: DataclassInstance) -> dict[str, Any]:
    """Runs `python -m module` with the order and returns its report; raises RuntimeError with what it said if it fails.

    Cancelling ends the process.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate(json.dumps(asdict(order)).encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise RuntimeError(f"{module} ended: {errors.decode()[-2_000:]}")
    report: dict[str, Any] = json.loads(output)
    return report
