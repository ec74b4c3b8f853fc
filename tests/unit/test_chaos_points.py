"""Traps know the statement that issues, take its COMMIT away, and know when its answer is complete."""

from __future__ import annotations

import pytest

from core.storage.block import Run
from core.storage.mysql import issuing_sql
from tests.chaos.faults.points import MORE_RESULTS, STORED, is_last, issues, uncommitted


def packet(body: bytes) -> bytes:
    """A packet of the protocol."""
    return len(body).to_bytes(3, "little") + b"\x00" + body


def ok(*, rows: bytes = b"\x01", more: bool) -> bytes:
    """The answer to a statement."""
    return packet(b"\x00" + rows + b"\xfc\x01\x02" + (MORE_RESULTS * more).to_bytes(2, "little") + b"\x00\x00")


def statement() -> bytes:
    """The issuing statement as the store sends it, but for the invoices."""
    batch = issuing_sql.insert_batch(1, 2, [Run(1, 1, f"{1:020d}", 2)], b"block")
    text = f"{issuing_sql.take_numbers({1: 2})}; {batch}; {issuing_sql.INSERT_INVOICES}(1); COMMIT"
    return packet(b"\x03" + text.encode())


def test_the_issuing_statement_is_known_and_nothing_else() -> None:
    assert issues(statement())
    assert not issues(statement()[:-1])
    assert not issues(statement() + packet(b"\x03COMMIT"))
    assert not issues(packet(b"\x03START TRANSACTION; COMMIT"))


def test_without_its_commit_it_is_as_long_and_otherwise_the_same() -> None:
    changed = uncommitted(statement())
    assert len(changed) == len(statement())
    assert b"COMMIT" not in changed
    assert changed[:-8] == statement()[:-8]


@pytest.mark.parametrize("rows", [b"\x01", b"\xfc\x00\x01", b"\xfd\x00\x01\x00"])
def test_an_answer_is_complete_with_its_last_ok_or_an_error(rows: bytes) -> None:
    some, last = ok(rows=rows, more=True), ok(rows=rows, more=False)
    assert not is_last(b"")
    assert not is_last(some + some)
    assert not is_last(some + last[:-3])
    assert is_last(some + some + last)
    assert is_last(some + packet(b"\xff\x26\x04#23000Duplicate entry"))


def test_an_upload_is_stored_when_it_is_answered_and_not_when_its_body_is_asked_for() -> None:
    assert STORED.wanted(b"PUT /bucket/key HTTP/1.1\r\n")
    assert not STORED.wanted(b"HEAD /bucket/key HTTP/1.1\r\n")
    assert STORED.answered is not None
    assert not STORED.answered(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert STORED.answered(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
