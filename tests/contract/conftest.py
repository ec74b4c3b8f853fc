"""Subjects of the contract tests: each port's adapter and its twin."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.settings import load
from stack import Stack
from tests.contract.issuing_subjects import MemorySubject, MySQLSubject, Subject


@pytest.fixture(params=["memory", "mysql"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """An issuing store."""
    if request.param == "memory":
        yield MemorySubject()
        return
    stores: Stack = request.getfixturevalue("data_stores")
    mysql = MySQLSubject(load(stores.config_path).mysql)
    yield mysql
    await mysql.close()
