"""A connection between Envoy and a server on which nothing is said but pings stays open (P10).

gRPC takes frequent pings for an attack unless told otherwise, and ends the connection with what is under way on it.
Without one Envoy does not count what it has just sent to a server, and calls that come at once go to the same.
"""

from __future__ import annotations

import re
import time
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from billow import _channel
from server import bootstrap
from stack import Stack
from tests.support.raw_http2 import ACK, GOAWAY, PING, raw_http2

PAUSE_S = 1.1  # the shortest that the servers allow is 1 s; Envoy's is 4
PINGS = 5  # the third one too early ends a connection


def test_pings_do_not_end_a_connection(running_stack: Stack) -> None:
    with raw_http2(running_stack.state.ports["server-1"]) as connection:
        frames = connection.frames()
        for serial in range(PINGS):
            connection.send(PING, 0, 0, serial.to_bytes(8))
            for kind, flags, _, payload in frames:
                assert kind != GOAWAY, payload
                if kind == PING and flags & ACK:
                    assert payload == serial.to_bytes(8)
                    break
            else:
                pytest.fail(f"the connection ended at ping {serial}")
            time.sleep(PAUSE_S)


@pytest.mark.parametrize("module", [bootstrap, _channel])
def test_grpc_knows_the_options_that_it_is_given(module: ModuleType) -> None:
    """It says nothing of one that it does not know."""
    found = find_spec("grpc._cython.cygrpc")
    assert found is not None
    assert found.origin is not None
    library = Path(found.origin).read_bytes()
    names = re.findall(r'"(grpc\.[a-z_.0-9]+)"', Path(module.__file__ or "").read_text())
    assert len(names) > 5
    assert [name for name in names if name.encode() + b"\0" not in library] == []
