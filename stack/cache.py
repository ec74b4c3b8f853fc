"""Redis: a cache without persistence, which forgets the least used first (P5: nothing in it is needed)."""

from __future__ import annotations

import shutil
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
set-proc-title no
"""


def write_config(folder: RunFolder, state: State) -> None:
    """Writes Redis's configuration."""
    folder.redis.mkdir(parents=True, exist_ok=True)
    text = CONFIG.format(
        port=state.ports["redis"],
        password=state.secrets["redis"],
        folder=folder.redis,
        max_mib=state.options.redis_max_mib,
    )
    write(folder.redis / "redis.conf", text, mode=0o600)


def program(folder: RunFolder) -> Program:
    """Redis's process."""
    return Program(name="redis", command=(binary(), str(folder.redis / "redis.conf")), stop_grace_s=5)


def binary() -> str:
    """Returns the path of redis-server; raises StackError when it is not installed."""
    path = shutil.which("redis-server")
    if path is None:
        raise StackError("redis-server not found: apt-get install redis-server")
    return path


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
