"""Callers that are slow on purpose, tried against the edge: each is ended by a limit, and others are served meanwhile.

The edge is an Envoy of its own over the servers of the stack, with the same configuration but for the times, which are
seconds here: whether each limit works is asked, not how long it is.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from billow.verification.v1 import verification_pb2, verification_pb2_grpc
from stack import Stack
from tests.support.own_edge import own_edge
from tests.support.platform import admin
from tests.support.raw_http2 import END_HEADERS, END_STREAM, RawConnection, raw_http2

WAIT_S = 60.0
PATIENCE_S = 4.0  # longer than any limit here
CHECK = verification_pb2.InvoiceCheck(number="26110000000000000042", issue_date=20261118, gross_total_minor=1)
STREAM = "/billow.issuance.v1.IssuanceService/StreamIssueInvoices"
UNARY = "/billow.issuance.v1.IssuanceService/IssueInvoice"
# the limits that end slow callers, as they stand in the configuration, and as they are tried
LIMITS = {
    "request_headers_timeout: 10s": "request_headers_timeout: 1s",
    "stream_idle_timeout: 300s": "stream_idle_timeout: 2s",
    "max_stream_duration: 120s": "max_stream_duration: 2s",
    "max_stream_duration: {max_stream_duration: 30s,": "max_stream_duration: {max_stream_duration: 2s,",
}


@pytest.fixture(scope="module")
def port(running_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the impatient edge listens."""
    with own_edge(running_stack, tmp_path_factory.mktemp("impatient"), LIMITS, ready=healthy) as chosen:
        yield chosen


def healthy(port: int) -> bool:
    """Tells whether an honest caller is served."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET", "/")
        page = connection.getresponse().status
        connection.close()
        connection.request("GET", "/v1/tenants")
        return (page, connection.getresponse().status) == (200, 401)
    except OSError:
        return False
    finally:
        connection.close()


def dribbled(port: int, first: bytes, drop: bytes) -> bytes:
    """Sends the beginning of a request, then a little at a time for as long as it is taken; what came back."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as plug:
        over = threading.Event()

        def dribble() -> None:
            with contextlib.suppress(OSError):
                plug.sendall(first)
                while not over.wait(0.2):
                    plug.sendall(drop)

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            answer = b""
            with contextlib.suppress(ConnectionError):
                while more := plug.recv(65_536):
                    answer += more
            return answer
        finally:
            over.set()
            thread.join()


def test_headers_that_never_end(port: int) -> None:
    answer = dribbled(port, b"GET / HTTP/1.1\r\nhost: x\r\n", b"a: b\r\n")
    assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 431"))
    with raw_http2(port) as connection:  # the same in HTTP/2: a block of headers without its end
        connection.ask(1, "/", 0, method="GET")
        assert connection.ended(1)
    assert healthy(port)


@pytest.mark.parametrize(("path", "kind"), [("/v1/invoices:verify", "application/json"), (UNARY, "application/grpc")])
def test_a_body_that_never_ends(port: int, path: str, kind: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 1000000\r\n\r\n"
    answer = dribbled(port, head.encode(), b" ")
    assert answer.startswith(b"HTTP/1.1 ")
    assert healthy(port)


def test_an_answer_that_is_never_read(port: int) -> None:
    with raw_http2(port, window_bytes=0) as connection:
        connection.ask(1, "/", END_HEADERS | END_STREAM, method="GET", kind="text/plain")
        assert connection.ended(1)
    assert healthy(port)


def open_streams(connection: RawConnection, path: str, count: int) -> None:
    for serial in range(count):
        connection.ask(1 + 2 * serial, path, END_HEADERS)


def test_streams_that_say_nothing(port: int) -> None:
    """Without a key the server ends them at once, or the time of a call does; on any path."""
    for path in (STREAM, UNARY):
        with raw_http2(port) as connection:
            open_streams(connection, path, 100)
            over = connection.ended(100)
            assert len(over) == 100 or 0 in over
        assert healthy(port)


def test_more_streams_than_a_connection_may_have(port: int) -> None:
    with raw_http2(port) as connection:
        open_streams(connection, UNARY, 1_100)
        assert connection.ended(1_100)
        assert connection.concurrent_max == 1_024
    assert healthy(port)


def test_an_honest_stream_outlives_all_of_these_limits(port: int, running_stack: Stack) -> None:
    made = admin(running_stack, "key", "create", "--create-tenant", "--tenant", "patient", "--scope", "verify")

    def requests() -> Iterator[verification_pb2.StreamVerifyInvoicesRequest]:
        yield verification_pb2.StreamVerifyInvoicesRequest(sequence=1, checks=[CHECK])
        time.sleep(PATIENCE_S)
        yield verification_pb2.StreamVerifyInvoicesRequest(sequence=2, checks=[CHECK])

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = verification_pb2_grpc.VerificationServiceStub(channel)
        metadata = (("authorization", f"Bearer {made['secret']}"),)
        answers = [answer.sequence for answer in stub.StreamVerifyInvoices(requests(), metadata=metadata)]
    assert answers == [1, 2]


def test_connections_that_say_nothing_take_nothing_from_others(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=WAIT_S))
        assert healthy(port)
