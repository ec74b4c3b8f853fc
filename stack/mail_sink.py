"""An SMTP server that keeps the last messages as files: `python -m stack.mail_sink --port 11025 --folder DIR`.

One file a message, `NNNNNNNN.eml`, counted on, the bytes as they came; the newest MESSAGES_MAX stay. For trying things
on one machine: it knows neither TLS nor users, listens on the loopback only, and forwards nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope

MESSAGES_MAX: Final = 200
MESSAGE_BYTES_MAX: Final = 20 * 1024 * 1024  # so at most 4 GB, and in practice some 20 MB


class Sink:
    """Keeps messages in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for half in folder.glob("*.part"):
            half.unlink()
        self._last = max((int(path.stem) for path in self._files()), default=0)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.eml") if path.stem.isdigit())

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: ARG002, N802 -- aiosmtpd's
        """Takes a message."""
        content = envelope.content or b""
        self.keep(content if isinstance(content, bytes) else content.encode())
        return "250 kept"

    def keep(self, content: bytes) -> None:
        """Writes a message, whole or not at all, and lets go of those that are too many."""
        self._last += 1
        part = self._folder / f"{self._last:08d}.part"
        part.write_bytes(content)
        part.rename(part.with_suffix(".eml"))
        for path in self._files()[:-MESSAGES_MAX]:
            path.unlink()


async def serve(port: int, folder: Path) -> None:
    """Serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sink = Sink(folder)
    server = await loop.create_server(
        lambda: SMTP(sink, data_size_limit=MESSAGE_BYTES_MAX, ident="Billow mail sink", loop=loop), "127.0.0.1", port
    )
    await stop.wait()
    server.close()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m stack.mail_sink", description="Keeps e-mail as files.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.folder))


if __name__ == "__main__":
    main()
