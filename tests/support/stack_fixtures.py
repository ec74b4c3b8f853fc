"""Real servers for tests, started once a session and stopped at its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from stack import DATA_STORES, Stack, StackOptions

# webhooks of tests are received on the loopback, without TLS
LOCAL_DELIVERY: Final[dict[str, Any]] = {"allow_http": True, "allowed_networks": ["127.0.0.0/8"], "pause_ms": 50}

AUDIT_S = 300


@pytest.fixture(scope="session")
def data_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """MySQL primary and replica, Redis and S3 with the schema in place; no servers, no workers, no Envoy."""
    with Stack(run_dir=tmp_path_factory.mktemp("stores"), options=StackOptions(parts=DATA_STORES)) as stack:
        yield stack


@pytest.fixture(scope="session")
def strict_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One server behind Envoy with the smallest rates there are, which other tests would run into."""
    rates = {"tenant_checks_a_second": 1, "tenant_reads_a_second": 1}
    options = StackOptions(servers=1, workers=0, public_calls_s=1, settings={"server": rates})
    with Stack(run_dir=tmp_path_factory.mktemp("strict"), options=options) as stack:
        yield stack


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything: stores, two servers, one worker, Envoy. Whatever the tests do to it, the audit then finds nothing."""
    folder = tmp_path_factory.mktemp("whole")
    options = StackOptions(
        servers=2, workers=1, settings={"server": {"channelz_dir": str(folder)}, "delivery": LOCAL_DELIVERY}
    )
    with Stack(run_dir=folder, options=options) as stack:
        yield stack
        command = [sys.executable, "-m", "admin", "audit", "--config", str(stack.config_path)]
        audit = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S)
        assert audit.returncode == 0, audit.stdout + audit.stderr
