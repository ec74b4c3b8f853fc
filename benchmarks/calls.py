"""Unary gRPC calls at a cost that is not the measurement's: about 10 µs a call, against 150 of a full client.

HTTP/2 with what these loads need and nothing more: the same header block for every call (literals without indexing,
so no state), one DATA frame a request, and of the answers only whether one came: an answer with a message has a DATA
frame, an error has none, and only then its trailers are read (benchmarks/trailers.py). Every request is a message of
its own, so that each may carry a new request id, which h2load cannot do.

Closed loop: as many calls under way as wanted, each followed by the next. Open loop: calls start when their time has
come whatever the answers do, and the latency counts from then, so that a slow server cannot hide its queue. Calls that
find all connections full wait here, their time running. What an open loop was refused it offers again as a later call,
as its client would: that is also cheaper than to make new messages of which most are refused.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from benchmarks.latency import Latencies
from benchmarks.trailers import ANSWERED, CUT_OFF, Ending, ending

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PLAIN = 0x2C  # the flags of a header block: whole, not padded, without a priority
WINDOW = 2**30  # of what we take: answers are small and read at once
DEFAULT_WINDOW = 65_535
FRAME_BYTES_MAX = 16_384
STREAMS_MAX = 90  # calls under way on one connection: below what Envoy allows
OPEN_STREAMS_MAX = 900  # of an open loop, below the 1,024 that Envoy allows a connection
AGAIN_MAX = 1_000  # refused messages kept to be offered again; the oldest are forgotten
CALL_S = 30.0  # a call without an answer by then fails the load

_FRAME = struct.Struct(">HBBBI")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Encodes a frame."""
    size = len(payload)
    return _FRAME.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def _data(stream: int, payload: bytes) -> bytes:
    """Encodes the whole of a stream's data as frames; at most DEFAULT_WINDOW, for a stream's window is not watched."""
    if len(payload) <= FRAME_BYTES_MAX:
        return frame(DATA, END_STREAM, stream, payload)
    if len(payload) > DEFAULT_WINDOW:
        raise ValueError(f"a message of {len(payload)} bytes does not fit a stream's first window")
    frames = []
    for start in range(0, len(payload), FRAME_BYTES_MAX):
        last = start + FRAME_BYTES_MAX >= len(payload)
        frames.append(frame(DATA, END_STREAM if last else 0, stream, payload[start : start + FRAME_BYTES_MAX]))
    return b"".join(frames)


def literal(name: bytes, value: bytes) -> bytes:
    """Encodes a header that leaves no trace in any table (RFC 7541, 6.2.2)."""

    def sized(text: bytes) -> bytes:
        if len(text) < 127:
            return bytes([len(text)]) + text
        rest = len(text) - 127
        return bytes([127, rest & 127 | 128, rest >> 7] if rest > 127 else [127, rest]) + text

    return b"\x00" + sized(name) + sized(value)


@dataclass(slots=True)
class Second:
    """What ended within one second of a load."""

    latencies: Latencies = field(default_factory=Latencies)
    refused: int = 0
    failed: int = 0


@dataclass(slots=True)
class Load:
    """What a load came to: latencies of answered calls; refused (P9) and failed ones are counted.

    `seconds` is kept when `watched`, by the whole second after the start in which a call ended.
    """

    watched: bool = False
    latencies: Latencies = field(default_factory=Latencies)
    refused: int = 0
    failed: int = 0
    words: Counter[str] = field(default_factory=Counter)  # why calls failed
    offered: int = 0
    duration_s: float = 0.0
    began: float = 0.0
    seconds: dict[int, Second] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answered calls a second."""
        return self.latencies.count / self.duration_s if self.duration_s else 0.0

    @property
    def ended(self) -> int:
        """Calls that have ended, however."""
        return self.latencies.count + self.refused + self.failed

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` of the answered calls did not exceed, milliseconds."""
        return self.latencies.percentile_ms(share)

    def note(self, how: Ending, since: float) -> None:
        """Takes in the end of a call that began, or was due, at `since`."""
        now = time.perf_counter()
        places: list[Load | Second] = [self]
        if self.watched:
            second = int(now - self.began)
            if second not in self.seconds:  # one that is not needed costs 100 µs
                self.seconds[second] = Second()
            places.append(self.seconds[second])
        for place in places:
            if how is ANSWERED:
                place.latencies.record(now - since)
            elif how.refused:
                place.refused += 1
            else:
                place.failed += 1
        if how is not ANSWERED and not how.refused:
            self.words[f"{how.status}: {how.words}"[:200]] += 1


class Connection(asyncio.Protocol):
    """One HTTP/2 connection. `done(tag, ending)` is called once a call, in the order of their ends."""

    def __init__(
        self,
        path: str,
        authority: str,
        secret: str,
        done: Callable[[Any, Ending], None],
        deadline_s: float | None = None,
    ) -> None:
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", authority.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"authorization", f"Bearer {secret}".encode()),
        ]
        if deadline_s is not None:
            headers.append((b"grpc-timeout", f"{deadline_s * 1_000:.0f}m".encode()))
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
        body = _data(stream, b"\x00" + len(message).to_bytes(4, "big") + message)
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
            if kind == RST_STREAM:
                self._end(stream, b"")
            elif kind in (DATA, HEADERS) and flags & END_STREAM:
                self._end(stream, data[payload:offset] if kind == HEADERS and flags & PLAIN == END_HEADERS else b"")
        self._unread = data[offset:]
        if taken:
            self._transport.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", taken)))

    def _send_waiting(self) -> None:
        """Sends what waited for the window; headers do not count against it, so this is a little too careful."""
        while self._waiting and self._window >= len(self._waiting[0]):
            self._window -= len(self._waiting[0])
            self._transport.write(self._waiting.pop(0))

    def _end(self, stream: int, block: bytes) -> None:
        """Ends a call with the header block of its end, or with none when it was reset."""
        call = self._calls.pop(stream, None)
        if call is not None:
            self.under_way -= 1
            tag, message_came = call
            self._done(tag, (ANSWERED if message_came else ending(block)) if block else CUT_OFF)

    def connection_lost(self, error: Exception | None) -> None:
        """Ends what is under way."""
        for stream in list(self._calls):
            self._end(stream, b"")

    def close(self) -> None:
        """Hangs up."""
        self._transport.close()


class Caller:
    """Connections to one method of one server or Envoy. `deadline_s`: what each call tells the server it will wait."""

    def __init__(self, *, host: str, port: int, path: str, secret: str, deadline_s: float | None = None) -> None:
        self._host, self._port, self._path, self._secret = host, port, path, secret
        self._deadline_s = deadline_s

    async def _connect(self, count: int, done: Callable[[Any, Ending], None]) -> list[Connection]:
        loop = asyncio.get_running_loop()
        made = []
        for _ in range(count):
            _, connection = await loop.create_connection(
                lambda: Connection(self._path, f"{self._host}:{self._port}", self._secret, done, self._deadline_s),
                *(self._host, self._port),
            )
            made.append(connection)
        return made

    async def closed_loop(self, messages: Iterator[bytes], *, under_way: int, calls: int | None = None) -> Load:
        """Makes `calls` calls, or as many as there are messages, `under_way` at a time."""
        load = Load()
        finished = asyncio.get_running_loop().create_future()
        messages = itertools.islice(messages, calls)

        def done(tag: tuple[Connection, float], how: Ending) -> None:
            connection, began = tag
            load.note(how, began)
            start(connection)

        def start(connection: Connection) -> None:
            message = next(messages, None)
            if message is not None:
                load.offered += 1
                connection.call(message, (connection, time.perf_counter()))
            elif load.ended == load.offered and not finished.done():
                finished.set_result(None)

        connections = await self._connect(-(-under_way // STREAMS_MAX), done)
        load.began = time.perf_counter()
        for number in range(under_way):
            start(connections[number % len(connections)])
        await asyncio.wait_for(finished, None if calls is None else CALL_S + calls / 100)
        load.duration_s = time.perf_counter() - load.began
        for connection in connections:
            connection.close()
        return load

    async def open_loop(
        self, messages: Iterator[bytes], *, rate: float, duration_s: float, connections: int = 4, watched: bool = False
    ) -> Load:
        """Starts `rate` calls a second for a while; a latency counts from the time the call was due.

        `duration_s` of the result is the time in which calls were due, so that `rate` is what was answered of it;
        answers are waited for up to CALL_S more. Calls without one by then have failed.
        """
        load = Load(watched=watched)
        waiting: deque[float] = deque()  # due times of calls for which no connection had room
        again: deque[bytes] = deque(maxlen=AGAIN_MAX)
        over = False

        def done(tag: tuple[Connection, float, bytes], how: Ending) -> None:
            if over:
                return
            connection, due, message = tag
            load.note(how, due)
            if how.refused:
                again.append(message)
            if waiting:
                start(connection, waiting.popleft())

        def start(connection: Connection, due: float) -> None:
            message = again.popleft() if again else next(messages)
            connection.call(message, (connection, due, message))

        made = await self._connect(connections, done)
        load.offered = int(rate * duration_s)
        load.began = time.perf_counter()
        for number in range(load.offered):
            due = load.began + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            elif number % 16 == 0:
                await asyncio.sleep(0)  # late: the answers must be read all the same
            connection = made[number % connections]
            if connection.under_way < OPEN_STREAMS_MAX:
                start(connection, due)
            else:
                waiting.append(due)
        load.duration_s = max(duration_s, time.perf_counter() - load.began)
        for _ in range(int(CALL_S * 100)):
            if load.ended == load.offered:
                break
            await asyncio.sleep(0.01)
        over = True
        if unanswered := load.offered - load.ended:
            load.failed += unanswered
            load.words["no answer"] += unanswered
        for connection in made:
            connection.close()
        return load
