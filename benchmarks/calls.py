"""Unary gRPC calls at a cost that is not the measurement's: about 10 µs a call, against 150 of a full client.

HTTP/2 with what these loads need and nothing more: the same header block for every call (literals without indexing,
so no state), one DATA frame a request, and of the answers only whether one came: an answer with a message has a DATA
frame, an error has none. Every request is a message of its own, so that each may carry a new request id, which
h2load cannot do.

Closed loop: as many calls under way as wanted, each followed by the next. Open loop: calls start when their time has
come whatever the answers do, and the latency counts from then, so that a slow server cannot hide its queue.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW = 2**30  # of what we take: answers are small and read at once
DEFAULT_WINDOW = 65_535
STREAMS_MAX = 90  # calls under way on one connection: below what Envoy allows
CALL_S = 30.0  # a call without an answer by then fails the load

_FRAME = struct.Struct(">HBBBI")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Encodes a frame."""
    size = len(payload)
    return _FRAME.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """Encodes a header that leaves no trace in any table (RFC 7541, 6.2.2)."""

    def sized(text: bytes) -> bytes:
        if len(text) < 127:
            return bytes([len(text)]) + text
        rest = len(text) - 127
        return bytes([127, rest & 127 | 128, rest >> 7] if rest > 127 else [127, rest]) + text

    return b"\x00" + sized(name) + sized(value)


@dataclass(slots=True)
class Load:
    """What a load came to: latencies in seconds, of answered calls; refused ones are counted."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    duration_s: float = 0.0

    @property
    def rate(self) -> float:
        """Answered calls a second."""
        return len(self.latencies_s) / self.duration_s

    def percentile_ms(self, share: float) -> float:
        """The latency below which `share` of the answered calls were, milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3


class Connection(asyncio.Protocol):
    """One HTTP/2 connection. `done(tag, answered)` is called once a call, in the order of their ends."""

    def __init__(self, path: str, authority: str, secret: str, done: Callable[[Any, bool], None]) -> None:
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", authority.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"authorization", f"Bearer {secret}".encode()),
        ]
        self._headers = b"".join(literal(name, value) for name, value in headers)
        self._done = done
        self._stream = 1
        self._calls: dict[int, list[Any]] = {}  # stream: [tag, whether a message came]
        self._unread = b""
        self._window = DEFAULT_WINDOW
        self._waiting: list[bytes] = []  # frames for which the window was too small
        self.under_way = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets."""
        self._transport = cast(asyncio.Transport, transport)
        settings = struct.pack(">HIHI", 1, 0, 4, WINDOW)  # no header table, a large window a stream
        greeting = frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW))
        self._transport.write(PREFACE + greeting)

    def call(self, message: bytes, tag: Any) -> None:
        """Starts a call."""
        stream, self._stream = self._stream, self._stream + 2
        self._calls[stream] = [tag, False]
        self.under_way += 1
        body = frame(DATA, END_STREAM, stream, b"\x00" + len(message).to_bytes(4, "big") + message)
        head = frame(HEADERS, END_HEADERS, stream, self._headers)
        if self._waiting or self._window < len(body):
            self._waiting.append(head + body)
        else:
            self._window -= len(body)
            self._transport.write(head + body)

    def data_received(self, data: bytes) -> None:
        """Reads frames."""
        data = self._unread + data
        offset, end = 0, len(data)
        taken = 0
        while offset + 9 <= end:
            high, low, kind, flags, stream = _FRAME.unpack_from(data, offset)
            size = high << 8 | low
            if offset + 9 + size > end:
                break
            payload = offset + 9
            offset = payload + size
            if kind == DATA:
                taken += size
                if size:
                    self._calls[stream][1] = True
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self._transport.write(frame(kind, ACK, 0, data[payload:offset] if kind == PING else b""))
            elif kind == WINDOW_UPDATE and stream == 0:
                self._window += int.from_bytes(data[payload:offset], "big")
                self._send_waiting()
            elif kind == GOAWAY:
                self._transport.close()
            if (kind in (DATA, HEADERS) and flags & END_STREAM) or kind == RST_STREAM:
                self._end(stream, answered=kind != RST_STREAM)
        self._unread = data[offset:]
        if taken:
            self._transport.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", taken)))

    def _send_waiting(self) -> None:
        """Sends what waited for the window; headers do not count against it, so this is a little too careful."""
        while self._waiting and self._window >= len(self._waiting[0]):
            self._window -= len(self._waiting[0])
            self._transport.write(self._waiting.pop(0))

    def _end(self, stream: int, *, answered: bool) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            self.under_way -= 1
            self._done(call[0], answered and call[1])

    def connection_lost(self, error: Exception | None) -> None:
        """Ends what is under way."""
        for stream in list(self._calls):
            self._end(stream, answered=False)

    def close(self) -> None:
        """Hangs up."""
        self._transport.close()


class Caller:
    """Connections to one method of one server or Envoy."""

    def __init__(self, *, host: str, port: int, path: str, secret: str) -> None:
        self._host, self._port, self._path, self._secret = host, port, path, secret

    async def _connect(self, count: int, done: Callable[[Any, bool], None]) -> list[Connection]:
        loop = asyncio.get_running_loop()
        made = []
        for _ in range(count):
            _, connection = await loop.create_connection(
                lambda: Connection(self._path, f"{self._host}:{self._port}", self._secret, done), self._host, self._port
            )
            made.append(connection)
        return made

    async def closed_loop(self, messages: Iterator[bytes], *, under_way: int, calls: int) -> Load:
        """Makes `calls` calls, `under_way` at a time."""
        load = Load()
        finished = asyncio.get_running_loop().create_future()
        left = calls

        def done(tag: tuple[Connection, float], answered: bool) -> None:
            connection, began = tag
            if answered:
                load.latencies_s.append(time.perf_counter() - began)
            else:
                load.failed += 1
            start(connection)

        def start(connection: Connection) -> None:
            nonlocal left
            if left:
                left -= 1
                connection.call(next(messages), (connection, time.perf_counter()))
            elif len(load.latencies_s) + load.failed == calls and not finished.done():
                finished.set_result(None)

        connections = await self._connect(-(-under_way // STREAMS_MAX), done)
        began = time.perf_counter()
        for number in range(under_way):
            start(connections[number % len(connections)])
        await asyncio.wait_for(finished, CALL_S + calls / 100)
        load.duration_s = time.perf_counter() - began
        for connection in connections:
            connection.close()
        return load

    async def open_loop(
        self, messages: Iterator[bytes], *, rate: float, duration_s: float, connections: int = 4
    ) -> Load:
        """Starts `rate` calls a second for a while; a latency counts from the time the call was due."""
        load = Load()

        def done(due: float, answered: bool) -> None:
            if answered:
                load.latencies_s.append(time.perf_counter() - due)
            else:
                load.failed += 1

        made = await self._connect(connections, done)
        total = int(rate * duration_s)
        began = time.perf_counter()
        for number in range(total):
            due = began + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            made[number % connections].call(next(messages), due)
        load.duration_s = time.perf_counter() - began
        for _ in range(int(CALL_S * 100)):
            if not any(connection.under_way for connection in made):
                break
            await asyncio.sleep(0.01)
        load.failed += sum(connection.under_way for connection in made)
        for connection in made:
            connection.close()
        return load
