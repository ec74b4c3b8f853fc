"""HTTP/2 by hand: frames that no honest client sends, and what comes back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hpack import Encoder

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE: Final = 4
WAIT_S: Final = 60.0


class RawConnection:
    """One connection; `ended` tells which streams were reset or answered to their end, and whether all is over."""

    def __init__(self, plug: socket.socket, *, window_bytes: int) -> None:
        self._plug = plug
        self._encoder = Encoder()
        self._read = plug.makefile("rb")
        self.concurrent_max = 0
        self._plug.sendall(PREFACE)
        self.send(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window_bytes))

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        """Sends a frame."""
        self._plug.sendall(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    def ask(self, stream: int, path: str, flags: int, *, method: str = "POST", kind: str = "application/grpc") -> None:
        """Sends the headers of a request."""
        listed = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers")]
        self.send(HEADERS, flags, stream, self._encoder.encode([*listed, ("content-type", kind)]))

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of what comes, until the other side ends the connection."""
        try:
            while len(head := self._read.read(9)) == 9:
                length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
                payload = self._read.read(length)
                if kind == SETTINGS and not flags & ACK:
                    self.send(SETTINGS, ACK, 0)
                    for place in range(0, length, 6):
                        name, value = struct.unpack_from(">HI", payload, place)
                        if name == 3:
                            self.concurrent_max = value
                yield kind, flags, int.from_bytes(head[5:9]) & 0x7FFFFFFF, payload
        except (ConnectionError, BrokenPipeError):
            return

    def ended(self, wanted: int) -> set[int]:
        """Waits until so many streams have ended, or the connection; the streams, 0 standing for the connection."""
        over: set[int] = set()
        for kind, flags, stream, _ in self.frames():
            if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
                over.add(stream)
            if len(over) >= wanted:
                return over
        return over | {0}


@contextmanager
def raw_http2(port: int, *, window_bytes: int = 65_535) -> Iterator[RawConnection]:
    """Opens a connection to a port of the loopback; waits for at most WAIT_S for anything."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as plug:
        yield RawConnection(plug, window_bytes=window_bytes)
