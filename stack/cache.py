"""Redis: a cache without persistence, which forgets the least used first (P5: nothing in it is needed)."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final

import redis

from stack.options import RunFolder, StackError
from stack.state import State, write
from stack.supervision import Program

ANSWER_S: Final = 2.0

CONFIG: Final = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
daemonize no
save ""
appendonly no
maxmemory {max_mib}mb
maxmemory-policy allkeys-lru
hash-max-ziplist-value 128
set-proc-title no
{huge_pages}
"""
# A verification entry has up to 75 bytes, and of what has more than 64, Redis by itself gives every field of a hash a
# home of its own (core/storage/redis/keys.py). Since 7.0 the setting is called hash-max-listpack-value, too.
#
# A full cache touches memory everywhere, and much of what that costs is looking up pages: in bulk, full and evicting,
# an invoice takes 20 µs of Redis with huge pages and 31 without. Redis does without them for the sake of its forks for
# persistence, which there are none of here. The directive came with 6.2; before, it did not turn them off
HUGE_PAGES: Final = "disable-thp no"
HUGE_PAGES_SINCE: Final = (6, 2)
ALLOCATOR: Final = {"MALLOC_CONF": "thp:always"}  # of jemalloc: asks for them where the system leaves it to programs


def write_config(folder: RunFolder, state: State) -> None:
    """Writes Redis's configuration."""
    folder.redis.mkdir(parents=True, exist_ok=True)
    text = CONFIG.format(
        port=state.ports["redis"],
        password=state.secrets["redis"],
        folder=folder.redis,
        max_mib=state.options.redis_max_mib,
        huge_pages=HUGE_PAGES if _version() >= HUGE_PAGES_SINCE else "",
    )
    write(folder.redis / "redis.conf", text, mode=0o600)


def program(folder: RunFolder) -> Program:
    """Redis's process."""
    command = (binary(), str(folder.redis / "redis.conf"))
    return Program(name="redis", command=command, environment=ALLOCATOR, stop_grace_s=5)


def binary() -> str:
    """Returns the path of redis-server; raises StackError when it is not installed."""
    path = shutil.which("redis-server")
    if path is None:
        raise StackError("redis-server not found: apt-get install redis-server")
    return path


def _version() -> tuple[int, ...]:
    """The version of redis-server, for example (7, 0, 15); raises StackError when it does not tell."""
    told = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\d+(?:\.\d+)*)", told)
    if found is None:
        raise StackError(f"redis-server does not tell its version: {told!r}")
    return tuple(map(int, found[1].split(".")))


def url(state: State) -> str:
    """Returns the URL of the cache, with its password."""
    return f"redis://:{state.secrets['redis']}@127.0.0.1:{state.ports['redis']}/0"


def answers(state: State) -> bool:
    """Tells whether Redis answers within ANSWER_S."""
    client = redis.Redis.from_url(url(state), socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
