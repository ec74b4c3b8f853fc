"""Fixtures for all tests."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.support.stack_fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """--update writes the golden documents anew."""
    parser.addoption("--update", action="store_true", help="write the files in tests/golden anew")
