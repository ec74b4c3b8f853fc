"""The edge in front of real servers: routes, limits, errors; scaling and the death of a server unnoticed by callers."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from billow.verification.v1 import verification_pb2, verification_pb2_grpc
from stack import Stack, edge

JSON_BYTES_MAX = 16 * 1024 * 1024
WAIT_S = 30.0


def ask(
    stack: Stack, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """One HTTP request to the edge."""
    connection = http.client.HTTPConnection(stack.envoy.host, stack.envoy.port, timeout=WAIT_S)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"content-type": "application/json", **sent})
        reply = connection.getresponse()
        return reply.status, reply.read(), {name.lower(): value for name, value in reply.getheaders()}
    finally:
        connection.close()


@contextmanager
def calling(stack: Stack) -> Iterator[list[str]]:
    """Calls through the edge from four threads all the while; yields what came of each call."""
    outcomes: list[str] = []
    stop = threading.Event()
    with grpc.insecure_channel(f"{stack.envoy.host}:{stack.envoy.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        def call() -> None:
            while not stop.is_set():
                try:
                    stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
                    outcomes.append("OK")
                except grpc.RpcError as error:
                    outcomes.append(f"{error.code()}: {error.details()}")

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield outcomes
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def more(outcomes: list[str], count: int = 50) -> None:
    """Waits for so many more calls to end."""
    wanted = len(outcomes) + count
    deadline = time.monotonic() + WAIT_S
    while len(outcomes) < wanted:
        assert time.monotonic() < deadline, "calls hang"
        time.sleep(0.01)


def endpoints(stack: Stack) -> dict[int, str]:
    """The servers as Envoy sees them: port and health."""
    text = edge.admin(stack.state, "clusters?format=json")
    assert text is not None
    (cluster,) = [item for item in json.loads(text)["cluster_statuses"] if item["name"] == edge.CLUSTER]
    return {
        host["address"]["socket_address"]["port_value"]: host["health_status"].get("eds_health_status", "")
        for host in cluster.get("host_statuses", [])
    }


def test_envoy_finds_the_configuration_valid(running_stack: Stack) -> None:
    line = [edge.binary(), "--mode", "validate", "-c", str(running_stack.folder.envoy / "envoy.yaml")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


def test_health_and_grpc_web_pass(running_stack: Stack) -> None:
    with grpc.insecure_channel(f"{running_stack.envoy.host}:{running_stack.envoy.port}") as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    status, body, headers = ask(
        running_stack, "POST", "/grpc.health.v1.Health/Check", b"\0\0\0\0\0", content_type="application/grpc-web+proto"
    )
    assert status == 200
    assert headers["content-type"] == "application/grpc-web+proto"
    assert body.startswith(b"\0\0\0\0\2\x08\x01")  # SERVING
    assert b"grpc-status:0" in body


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, 5),
        ("POST", "/v1/invoices:verify", b'{"number":', 400, 3),
        ("POST", "/v1/invoices:verify?speed=1", b"{}", 400, 3),
        ("POST", "/v1/invoices:batchIssue", b" " * (JSON_BYTES_MAX + 1), 413, 3),
        ("GET", "/v1/tenants", None, 401, 16),
    ],
)
def test_bad_json_requests_get_a_status_as_json(
    running_stack: Stack, method: str, path: str, body: bytes | None, status: int, code: int
) -> None:
    """P11: the same form whether Envoy or a server refuses."""
    found, text, headers = ask(running_stack, method, path, body)
    assert (found, headers["content-type"]) == (status, "application/json")
    assert json.loads(text)["code"] == code


def test_callers_choose_neither_request_id_nor_envoy_s_behaviour(running_stack: Stack) -> None:
    _, _, headers = ask(running_stack, "GET", "/v1/tenants", x_request_id="mine", x_envoy_max_retries="9")
    assert headers["x-request-id"] != "mine"
    status, _, _ = ask(running_stack, "GET", "/v1/tenants", x_large="x" * 20_000)
    assert status == 431


def test_errors_reach_grpc_callers_with_their_own_text(running_stack: Stack) -> None:
    with grpc.insecure_channel(f"{running_stack.envoy.host}:{running_stack.envoy.port}") as channel:
        stub = verification_pb2_grpc.VerificationServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.BatchVerifyInvoices(
                verification_pb2.BatchVerifyInvoicesRequest(), metadata=(("authorization", "Bearer bk_no"),), timeout=30
            )
    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert "{" not in str(raised.value.details())


def test_a_flood_of_resets_closes_the_connection(running_stack: Stack) -> None:
    name = "http.edge.downstream_rq_too_many_premature_resets"
    before = edge.admin(running_stack.state, f"stats?filter={name}")
    with grpc.insecure_channel(f"{running_stack.envoy.host}:{running_stack.envoy.port}") as channel:
        stub = verification_pb2_grpc.VerificationServiceStub(channel)
        deadline = time.monotonic() + WAIT_S
        while edge.admin(running_stack.state, f"stats?filter={name}") == before:
            assert time.monotonic() < deadline, "the flood was suffered"
            for _ in range(200):
                stub.StreamVerifyInvoices(iter([verification_pb2.StreamVerifyInvoicesRequest()] * 3)).cancel()


def test_scaling_disturbs_no_call(running_stack: Stack) -> None:
    pids = {name: running_stack.pid(name) for name in ("envoy", "server-1", "worker-1", "mysql-1")}
    with calling(running_stack) as outcomes:
        running_stack.scale(servers=3)
        assert set(endpoints(running_stack)) == {server.port for server in running_stack.servers}
        assert set(endpoints(running_stack).values()) == {"HEALTHY"}
        assert len(running_stack.servers) == 3
        more(outcomes)
        running_stack.scale(servers=2)
        more(outcomes)
    assert set(outcomes) == {"OK"}
    assert {name: running_stack.pid(name) for name in pids} == pids
    assert "server-3" not in running_stack.status()


def test_a_killed_and_a_restarted_server_are_noticed_by_no_call(running_stack: Stack) -> None:
    """P10: what was under way on the dead process is repeated elsewhere; it comes back by itself."""
    with calling(running_stack) as outcomes:
        more(outcomes)
        before = running_stack.kill("server-1")
        more(outcomes)
        running_stack.wait_healthy("server-1")
        assert running_stack.pid("server-1") != before
        running_stack.wait_healthy("envoy")
        running_stack.restart("server-2")
        running_stack.wait_healthy("envoy")
        before = running_stack.kill("server-1", signal.SIGTERM)
        while running_stack.status()["server-1"].pid == before:
            time.sleep(0.05)
        running_stack.wait_healthy("server-1")
        more(outcomes)
    assert set(outcomes) == {"OK"}


def test_calls_inside_a_server_that_freezes_end_on_another(running_stack: Stack) -> None:
    """P10: without a word from the server, and without a repeat by the caller."""
    request = health_pb2.HealthCheckRequest()
    with grpc.insecure_channel(f"{running_stack.envoy.host}:{running_stack.envoy.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(request, timeout=WAIT_S).status == health_pb2.HealthCheckResponse.SERVING
        running_stack.pause("server-1")
        try:
            under_way = [stub.Check.future(request, timeout=WAIT_S) for _ in range(20)]
            answers = [call.result() for call in under_way]
        finally:
            running_stack.resume("server-1")
    assert [answer.status for answer in answers] == [health_pb2.HealthCheckResponse.SERVING] * 20
