"""A Redis of one test's own, which may be hung, killed and brought back."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

START_S = 10.0


def free_port() -> int:
    """Returns a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A process of redis-server without persistence, as the stack's is."""

    def __init__(self, folder: Path, *, options: Sequence[str] = (), password: str = "") -> None:
        self.port = free_port()
        self._folder = folder
        self._password = password
        self._options = [*options, *(("--requirepass", password) if password else ())]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        with (self._folder / f"redis-{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        give_up_at = time.monotonic() + START_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert self._process.poll() is None, "redis-server did not start"
                assert time.monotonic() < give_up_at, "redis-server does not answer"
                time.sleep(0.02)

    def _command(self) -> list[str]:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        return [*command, "--save", "", "--appendonly", "no", *self._options]

    def client(self) -> redis.Redis:
        """A plain client, to look behind the adapters."""
        return redis.Redis(port=self.port, socket_timeout=START_S, password=self._password or None)

    def run_id(self) -> bytes:
        """The id of the process that runs now."""
        with self.client() as client:
            return str(client.info("server")["run_id"]).encode()

    def hang(self) -> None:
        """Stops it in the middle of whatever it does: it keeps its connections and does not answer."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kills it with everything it holds."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(START_S)

    def flush(self) -> None:
        """Empties it."""
        with self.client() as client:
            client.flushall()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Ends it whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self.kill()


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Runs a server for the time of the block."""
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.stop()
