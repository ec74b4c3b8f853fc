"""An Envoy beside that of a stack: the same configuration but for what a test changes in it."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stack import Stack, edge, loopback

WAIT_S = 60.0


def free_port() -> int:
    """A port nobody listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def own_edge(
    stack: Stack, folder: Path, changes: Mapping[str, str], *, ready: Callable[[int], bool] = lambda _: True
) -> Iterator[int]:
    """The port of an Envoy that is up and of which `ready` says so; each of the changed texts must be there."""
    (folder / "cache").mkdir()
    port, admin_port = free_port(), free_port()
    text = (stack.folder.envoy / "envoy.yaml").read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    for name, other in (("envoy", port), ("envoy-admin", admin_port)):
        text = re.sub(rf"port_value: {stack.state.ports[name]}\b", f"port_value: {other}", text)
    config = folder / "envoy.yaml"
    config.write_text(text.replace(str(stack.folder.envoy / "cache"), str(folder / "cache")))
    command = [edge.binary(), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT_S
        while loopback.get(admin_port, "/ready") is None or not ready(port):
            assert time.monotonic() < deadline, "the edge does not come up"
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()
