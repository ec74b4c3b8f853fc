"""How patiently commands open connections."""

from __future__ import annotations

import pytest

from admin.nodes import CONNECT_TIMEOUT_MS, patient
from core.settings import Address, MySQLSettings


@pytest.mark.parametrize(("set_ms", "expected_ms"), [(2_000, CONNECT_TIMEOUT_MS), (90_000, 90_000)])
def test_commands_never_wait_less_than_their_own_time(set_ms: int, expected_ms: int) -> None:
    settings = MySQLSettings(primary=Address("127.0.0.1", 1), user="u", password="p", connect_timeout_ms=set_ms)
    assert patient(settings).connect_timeout_ms == expected_ms
