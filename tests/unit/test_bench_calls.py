"""The cheap gRPC caller of benchmarks: frames in, endings out. A transport that only keeps what is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from hpack import Encoder

from benchmarks.calls import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Caller, Connection, Load, frame
from benchmarks.trailers import ANSWERED, CUT_OFF, Ending
from core.domain.errors import BillowError, Reason
from server.convert import errors
from tests.unit.test_bench_trailers import details


class Wire:
    """A transport."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        pass


class Calling:
    """A connection with calls tagged 0, 1, 2, … under way."""

    def __init__(self, calls: int) -> None:
        self.ended: list[tuple[int, Ending]] = []
        self.connection = Connection("/a.B/C", "host:1", "key", lambda tag, how: self.ended.append((tag, how)))
        self.connection.connection_made(cast(asyncio.BaseTransport, Wire()))
        for tag in range(calls):
            self.connection.call(b"request", tag)


def trailers(*headers: tuple[str, str]) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return cast(bytes, encoder.encode(list(headers)))


def last(stream: int, block: bytes) -> bytes:
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block)


def test_answers_refusals_failures_and_resets_are_told_apart() -> None:
    calling = Calling(4)
    overloaded = errors.status(BillowError(Reason.OVERLOADED, "full", retry_delay_ms=500), "r")
    status = str(overloaded.code)
    refused = details(BillowError(Reason.OVERLOADED, "full", retry_delay_ms=500))
    received = (
        frame(HEADERS, END_HEADERS, 1, trailers((":status", "200")))
        + frame(DATA, 0, 1, b"\0\0\0\0\0")
        + last(1, trailers(("grpc-status", "0")))
        + last(3, trailers((":status", "200"), ("grpc-status", status), ("grpc-status-details-bin", refused)))
        + last(5, trailers((":status", "200"), ("grpc-status", "14"), ("grpc-message", "away")))
        + frame(RST_STREAM, 0, 7, b"\0\0\0\x07")
    )
    for place in range(0, len(received), 11):  # frames come in pieces
        calling.connection.data_received(received[place : place + 11])
    assert [tag for tag, _ in calling.ended] == [0, 1, 2, 3]
    answered, refusal, failure, reset = (how for _, how in calling.ended)
    assert answered is ANSWERED
    assert refusal.refused
    assert (failure.status, failure.words, failure.refused) == (14, "away", False)
    assert reset is CUT_OFF
    assert calling.connection.under_way == 0


def test_what_is_under_way_when_the_connection_goes_has_failed() -> None:
    calling = Calling(2)
    calling.connection.connection_lost(None)
    assert calling.ended == [(0, CUT_OFF), (1, CUT_OFF)]


def test_a_load_counts_by_kind_and_by_second() -> None:
    load = Load(watched=True)
    hows: list[Any] = [ANSWERED, Ending(8, retry_info=True), Ending(8), CUT_OFF]
    for how in hows:
        load.note(how, 0.0)
    assert (load.latencies.count, load.refused, load.failed, load.ended) == (1, 1, 2, 4)
    assert sum(second.failed for second in load.seconds.values()) == 2
    assert sum(load.words.values()) == 2


def test_a_long_message_goes_in_frames_and_one_beyond_the_window_not_at_all() -> None:
    wire = Wire()
    connection = Connection("/a.B/C", "host:1", "key", lambda tag, how: None, deadline_s=2.5)
    connection.connection_made(cast(asyncio.BaseTransport, wire))
    wire.written.clear()
    connection.call(b"m" * 40_000, 0)
    assert b"grpc-timeout\x052500m" in wire.written
    assert split(bytes(wire.written)) == [
        (HEADERS, END_HEADERS, None),
        (DATA, 0, 16_384),
        (DATA, 0, 16_384),
        (DATA, END_STREAM, 40_005 - 2 * 16_384),
    ]
    with pytest.raises(ValueError, match="does not fit"):
        connection.call(b"m" * 65_535, 1)


class Refusing(Connection):
    """A connection whose calls end at once: refused the first time that a message comes, answered the second."""

    def __init__(self, done: Callable[[Any, Ending], None], seen: list[bytes]) -> None:
        super().__init__("/a.B/C", "host:1", "key", done)
        self.connection_made(cast(asyncio.BaseTransport, Wire()))
        self.seen = seen

    def call(self, message: bytes, tag: Any) -> None:
        self.seen.append(message)
        self._done(tag, ANSWERED if self.seen.count(message) > 1 else Ending(8, retry_info=True))


async def test_what_an_open_loop_was_refused_it_offers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def connect(_: Caller, count: int, done: Callable[[Any, Ending], None]) -> list[Connection]:
        return [Refusing(done, seen) for _ in range(count)]

    monkeypatch.setattr(Caller, "_connect", connect)
    caller = Caller(host="host", port=1, path="/a.B/C", secret="key")
    made = await caller.open_loop(iter([b"0", b"1", b"2"]), rate=1_000, duration_s=0.006, connections=2)
    assert seen == [b"0", b"0", b"1", b"1", b"2", b"2"]
    assert (made.offered, made.latencies.count, made.refused, made.failed) == (6, 3, 3, 0)


def split(written: bytes) -> list[tuple[int, int, int | None]]:
    """The frames of what was written: kind, flags, and of DATA the size."""
    found: list[tuple[int, int, int | None]] = []
    while written:
        size, kind, flags = int.from_bytes(written[:3], "big"), written[3], written[4]
        found.append((kind, flags, size if kind == DATA else None))
        written = written[9 + size :]
    return found
