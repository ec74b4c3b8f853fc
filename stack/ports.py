"""Ports: the usual one where it is free, another where it is taken, the same one next time."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from stack.options import StackError

USUAL: Final[Mapping[str, int]] = {
    "mysql-1": 13306,
    "mysql-2": 13307,
    "mysql-3": 13308,
    "redis": 16379,
    "s3": 18333,
    "s3-grpc": 18334,
    "s3-master": 18335,
    "s3-master-grpc": 18336,
    "s3-volume": 18337,
    "s3-volume-grpc": 18338,
    "s3-filer": 18339,
    "s3-filer-grpc": 18340,
    "mail-1": 11025,
    "envoy": 18080,
    "envoy-admin": 18081,
}
SERVER_FIRST: Final = 15051
SERVER_METRICS_FIRST: Final = 15151
WORKER_METRICS_FIRST: Final = 15251
WEB_FIRST: Final = 15351
WEB_METRICS_FIRST: Final = 15451
OTHERS: Final = range(20_000, 32_000)  # below the ports the kernel gives to outgoing connections
RESERVED_S: Final = 60.0  # between picking a port and listening on it
ATTEMPTS_MAX: Final = 1_000


def usual(name: str) -> int:
    """Returns the usual port of a name: one of USUAL, or {server,web}-N, {server,web,worker}-N-metrics."""
    if name in USUAL:
        return USUAL[name]
    kind, slot, *rest = name.split("-")
    first = {
        "server": SERVER_METRICS_FIRST if rest else SERVER_FIRST,
        "web": WEB_METRICS_FIRST if rest else WEB_FIRST,
        "worker": WORKER_METRICS_FIRST,
    }[kind]
    return first + int(slot) - 1


def is_free(port: int) -> bool:
    """Tells whether a loopback port can be listened on now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def pick(
    names: Iterable[str],
    *,
    remembered: Mapping[str, int],
    taken: Iterable[int] = (),
    free: Callable[[int], bool] = is_free,
) -> dict[str, int]:
    """Returns a port for each name: the remembered or else the usual one if free, otherwise any free one of OTHERS.

    Never one of `taken`, and never the same one twice. Raises StackError when none is found.
    """
    used = set(taken)
    chosen: dict[str, int] = {}
    for name in names:
        candidates = [remembered.get(name, 0), usual(name), *random.choices(OTHERS, k=ATTEMPTS_MAX)]
        port = next((port for port in candidates if port and port not in used and free(port)), None)
        if port is None:
            raise StackError(f"no free port found for {name}")
        chosen[name] = port
        used.add(port)
    return chosen


def reserve(
    names: Iterable[str], *, owner: str, remembered: Mapping[str, int], own: Iterable[int] = (), book_path: Path
) -> dict[str, int]:
    """Picks ports while no other stack of this user does, and keeps others off them until they are listened on.

    `owner` names the stack, `own` are ports it already uses, `book_path` is where stacks of one user note what they
    picked within the last minute. Blocks for milliseconds only.
    """
    with os.fdopen(os.open(book_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        now = time.time()
        entries = {port: entry for port, entry in _read(book.read()).items() if now < entry[0] <= now + RESERVED_S}
        others = [int(port) for port, (_, who) in entries.items() if who != owner]
        chosen = pick(names, remembered=remembered, taken=[*others, *own])
        entries |= {str(port): (now + RESERVED_S, owner) for port in chosen.values()}
        book.seek(0)
        book.truncate()
        json.dump(entries, book)
    return chosen


def shared_book() -> Path:
    """Returns where this user's stacks note the ports they have just picked."""
    return Path(tempfile.gettempdir()) / f"billow-ports-{os.getuid()}.json"


def _read(text: str) -> dict[str, tuple[float, str]]:
    """Reads the book of reservations; a damaged one counts as empty."""
    try:
        return {str(int(port)): (float(until), str(who)) for port, (until, who) in json.loads(text or "{}").items()}
    except (ValueError, AttributeError, TypeError):
        return {}
