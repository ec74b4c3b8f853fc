"""What the edge refuses for the servers (docs/adr/0045): an Envoy over a toy server that counts what reaches it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from billow.issuance.v1 import issuance_pb2
from stack import Stack
from tests.support.own_edge import own_edge
from tests.support.toy_server import status_of

BATCH = "/billow.issuance.v1.IssuanceService/BatchIssueInvoices"
SINGLE = "/billow.issuance.v1.IssuanceService/IssueInvoice"
CALLS = 300
WAIT_S = 30.0
QUIET_S = 2.5
GREEDY, MODEST = "Bearer greedy", "Bearer modest"


class Toy:
    """Refuses the callers of `full` as a server does whose lane has no room for them; others are answered."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.flag = True
        self.hold_s = 0.0  # so long a refusal takes to come
        self.seen: Counter[tuple[str, str]] = Counter()
        self._server = grpc.server(ThreadPoolExecutor(64))
        wells = health.HealthServicer()
        wells.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(wells, self._server)
        methods = {path.rpartition("/")[2]: self._handler(path) for path in (BATCH, SINGLE)}
        handler = grpc.method_handlers_generic_handler("billow.issuance.v1.IssuanceService", methods)
        self._server.add_generic_rpc_handlers((handler,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _handler(self, path: str) -> Any:
        def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
            who = dict(context.invocation_metadata())["authorization"]
            self.seen[path, str(who)] += 1
            if who in self.full:
                time.sleep(self.hold_s)
                refusal = rpc_status.to_status(status_of("OVERLOADED", "no room", retry_ms=700, lane="bulk"))
                flag = (("x-billow-full", "1"),) if self.flag else ()
                context.set_trailing_metadata((*refusal.trailing_metadata, *flag))
                context.abort(refusal.code, refusal.details)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)

    def stop(self) -> None:
        self._server.stop(None)


class Edge:
    """Calls the toy through the edge."""

    def __init__(self, channel: grpc.Channel, toy: Toy, port: int) -> None:
        self._channel = channel
        self._port = port
        self.toy = toy

    def call(self, who: str, *, path: str = BATCH, timeout_s: float = WAIT_S) -> grpc.RpcError | None:
        """One call; None when it was answered."""
        method: Any = self._channel.unary_unary(path)
        request = issuance_pb2.BatchIssueInvoicesRequest().SerializeToString()
        try:
            method(request, metadata=(("authorization", who),), timeout=timeout_s)
        except grpc.RpcError as error:
            return error
        return None

    def refused(self, who: str, calls: int = CALLS, **how: Any) -> int:
        """So many calls, one after the other; how many were refused."""
        return sum(self.call(who, **how) is not None for _ in range(calls))

    def refused_at_once(self, who: str, calls: int = CALLS) -> int:
        """So many calls without waiting for an answer between them; how many were refused."""
        method: Any = self._channel.unary_unary(BATCH)
        request = issuance_pb2.BatchIssueInvoicesRequest().SerializeToString()
        made = [method.future(request, metadata=(("authorization", who),), timeout=WAIT_S) for _ in range(calls)]
        return sum(call.exception() is not None for call in made)

    def post(self, who: str, path: str = "/v1/invoices:batchIssue") -> tuple[int, dict[str, Any], set[str]]:
        """One call as JSON: its status, its body, and the names of its headers."""
        url = f"http://127.0.0.1:{self._port}{path}"
        headers = {"authorization": who, "content-type": "application/json"}
        request = urllib.request.Request(url, data=b"{}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                return answer.status, json.load(answer), {name.lower() for name in answer.headers}
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), {name.lower() for name in error.headers}


@pytest.fixture
def edge(running_stack: Stack, tmp_path: Path) -> Iterator[Edge]:
    toy = Toy()
    endpoints = tmp_path / "endpoints"
    endpoints.mkdir()
    text = (running_stack.folder.envoy / "endpoints" / "billow.json").read_text()
    for name, port in running_stack.state.ports.items():
        if name.startswith("server-") and not name.endswith("-metrics"):
            text = text.replace(str(port), str(toy.port))
    (endpoints / "billow.json").write_text(text)
    changes = {str(running_stack.folder.envoy / "endpoints" / "billow.json"): str(endpoints / "billow.json")}
    with own_edge(running_stack, tmp_path, changes, ready=_serves) as port:
        toy.seen.clear()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Edge(channel, toy, port)
    toy.stop()


def _serves(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        single: Any = channel.unary_unary(SINGLE)
        try:
            single(b"", metadata=(("authorization", MODEST),), timeout=1)
        except grpc.RpcError:
            return False
    return True


def test_a_caller_far_beyond_its_room_is_refused_at_the_edge(edge: Edge) -> None:
    edge.toy.full = {GREEDY}
    assert edge.refused(GREEDY) == CALLS
    assert 0 < edge.toy.seen[BATCH, GREEDY] < CALLS / 3, "most of it did not reach the server, some always does"


def test_the_refusal_is_the_servers(edge: Edge) -> None:
    """Code, words, details and RetryInfo; not the flag, which is between the servers and the edge."""
    edge.toy.full = {GREEDY}
    for _ in range(CALLS):
        error: Any = edge.call(GREEDY)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        found = rpc_status.from_call(error)
        assert isinstance(found, status_pb2.Status)
        assert found.message == "no room"
        retry = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(retry) for detail in found.details)
        assert retry.retry_delay.ToMilliseconds() == 700
        assert "x-billow-full" not in {*dict(error.trailing_metadata()), *dict(error.initial_metadata() or ())}


def test_others_are_not_refused(edge: Edge) -> None:
    """Neither another caller, nor the same one's single calls, nor a batch whose caller waits longer."""
    edge.toy.full = {GREEDY}
    edge.refused(GREEDY, timeout_s=5.0)
    assert edge.refused(MODEST) == 0
    assert edge.toy.seen[BATCH, MODEST] == CALLS
    edge.toy.full = set()
    assert edge.refused(GREEDY, path=SINGLE) == 0
    assert edge.refused(GREEDY, calls=20, timeout_s=20.0) == 0


def test_what_is_taken_again_goes_through_again(edge: Edge) -> None:
    """Room that is found is used: of what follows ever more is passed on, until nothing is refused."""
    edge.toy.full = {GREEDY}
    edge.refused(GREEDY)
    edge.toy.full = set()
    give_up_at = time.monotonic() + WAIT_S
    while edge.refused(GREEDY, calls=50):
        assert time.monotonic() < give_up_at, "the edge goes on refusing what the server takes"


def test_who_waits_as_it_was_told_is_not_refused_for_what_it_brought_before(edge: Edge) -> None:
    edge.toy.full = {GREEDY}
    edge.refused(GREEDY, calls=40)
    edge.toy.full = set()
    time.sleep(2 * QUIET_S)  # 40 count as less than the 5 that always go through
    assert edge.call(GREEDY) is None


def test_many_at_once_after_a_moment_of_quiet_do_not_all_go_through(edge: Edge) -> None:
    """What was refused and taken is remembered for longer than refusals take to come."""
    edge.toy.full = {GREEDY}
    edge.refused(GREEDY)
    before = edge.toy.seen[BATCH, GREEDY]
    time.sleep(QUIET_S)
    edge.toy.hold_s = 0.5  # no refusal comes before all have gone their way
    assert edge.refused_at_once(GREEDY) == CALLS
    assert edge.toy.seen[BATCH, GREEDY] - before < CALLS / 3


def test_a_refusal_without_the_flag_is_not_repeated(edge: Edge) -> None:
    edge.toy.full, edge.toy.flag = {GREEDY}, False
    assert edge.refused(GREEDY) == CALLS
    assert edge.toy.seen[BATCH, GREEDY] == CALLS


def test_callers_of_json_are_refused_alike(edge: Edge) -> None:
    """At the edge as well, in JSON, with all that the server said but the flag."""
    edge.toy.full = {GREEDY}
    for _ in range(CALLS):
        status, said, headers = edge.post(GREEDY)
        assert (status, said["code"], said["message"]) == (429, 8, "no room")
        kinds = [detail["@type"].rpartition(".")[2] for detail in said["details"]]
        assert {"ErrorInfo", "RetryInfo"} <= set(kinds)
        assert "x-billow-full" not in headers
    assert 0 < edge.toy.seen[BATCH, GREEDY] < CALLS / 3, "most of it did not reach the server, some always does"


def test_other_callers_of_json_are_not_refused(edge: Edge) -> None:
    edge.toy.full = {GREEDY}
    for _ in range(CALLS):
        edge.post(GREEDY)
        assert edge.post(MODEST)[0] == 200
    edge.toy.full = set()
    assert edge.post(GREEDY, "/v1/sellers/s/invoices")[0] == 200
