"""The red-letter service: answers come after the cache knows, work goes on without its caller (P7)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import pytest

from core import limits
from core.domain.errors import BillowError, Reason
from core.storage.ports import Answer, Issued, VerificationEntry
from core.storage.red_letter_port import RedDraft
from server.services.auth import Caller
from server.services.red_letter import WAITING_MAX, RedLetterService, cut

BLUE = "2" * 20
ENTRY = VerificationEntry(BLUE, 1, 2, 100, 113, -50, "S", "B")


def draft(request_id: str = "r", *, bytes_max: int = 100) -> RedDraft:
    def shape(_: object) -> object:
        raise AssertionError("the store shapes")

    return RedDraft(
        seller_key=1,
        kind=2,
        request_id=request_id,
        request_sha256=bytes(32),
        blue_number=BLUE,
        confirmation_id="",
        selection=b"",
        bytes_max=bytes_max,
        shape=shape,  # type: ignore[arg-type]
    )


def issued(one: RedDraft) -> Issued:
    return Issued("3" * 20, 1, one.request_id, bytes(32), 2, 2, 1, -1, 0, -1, "B", bytes(32))


class Parts:
    """Every dependency of the service; `gate` holds the cache up."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.committed = asyncio.Event()
        self.done: list[str] = []
        self.error: Exception | None = None

    async def commit(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        if self.error is not None:
            raise self.error
        self.done.append("committed")
        self.committed.set()
        return [issued(one) for one in drafts]

    async def verification_entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry]:
        assert list(numbers) == [BLUE]
        return {BLUE: ENTRY}

    async def replace(self, entries: Sequence[VerificationEntry]) -> bool:
        await self.gate.wait()
        assert list(entries) == [ENTRY]
        self.done.append("told")
        return True

    async def remember(
        self, items: Sequence[Issued], seller_tax_ids: Mapping[int, str], *, answers: bool = True
    ) -> None:
        assert not answers, "nobody would ask for them"
        self.done.append("remembered")

    def tax_ids(self, seller_keys: object) -> dict[int, str]:
        return {1: "S"}

    async def invoice_of_any(self, number: str) -> tuple[object, object]:
        return SimpleNamespace(issued=issued(draft())), SimpleNamespace(tenant_key=7)

    async def read_body(self, stored: object) -> bytes:
        return b"body"


def service(parts: Parts, *, wait_max_ms: int = 10_000) -> RedLetterService:
    one: object = parts
    return RedLetterService(
        store=one,  # type: ignore[arg-type]
        reading=one,  # type: ignore[arg-type]
        sellers=one,  # type: ignore[arg-type]
        primary=one,  # type: ignore[arg-type]
        issue_cache=one,  # type: ignore[arg-type]
        entries=one,  # type: ignore[arg-type]
        wait_max_ms=wait_max_ms,
    )


async def test_nobody_is_answered_before_the_cache_knows() -> None:
    parts = Parts()
    parts.gate.clear()
    reds = service(parts)
    call = asyncio.create_task(reds.issue([draft()]))
    await parts.committed.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not call.done()
    parts.gate.set()
    assert await call == [issued(draft())]
    assert parts.done == ["committed", "told", "remembered"]


async def test_the_cache_is_told_though_the_caller_has_gone() -> None:
    parts = Parts()
    parts.gate.clear()
    reds = service(parts)
    call = asyncio.create_task(reds.issue([draft()]))
    await parts.committed.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    parts.gate.set()
    await reds.close()
    assert parts.done == ["committed", "told", "remembered"]


async def test_refused_drafts_keep_their_place_and_faults_have_reasons() -> None:
    parts = Parts()
    reds = service(parts)
    refused = BillowError(Reason.INVOICE_NOT_FOUND, "none")
    assert await reds.issue([refused, draft("a"), refused]) == [refused, issued(draft("a")), refused]
    parts.error = ValueError("a bug")
    (answer,) = await reds.issue([draft()])
    assert isinstance(answer, BillowError)
    assert answer.reason is Reason.INTERNAL


async def test_another_tenants_invoice_looks_unknown() -> None:
    reds = service(Parts())
    owner, other = (Caller(tenant_key, "t", frozenset({"issue"}), "k") for tenant_key in (7, 8))
    assert list(await reds.blues(owner, [BLUE])) == [BLUE]
    assert await reds.blues(other, [BLUE]) == {}


async def test_too_many_are_refused_early() -> None:
    reds = service(Parts())
    with pytest.raises(BillowError) as refused:
        await reds.issue([draft()] * (WAITING_MAX + 1))
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_delay_ms
    assert await reds.issue([draft()]), "what was refused does not count"


def test_parts_stay_within_items_and_bytes() -> None:
    many = [draft(str(serial)) for serial in range(limits.RED_COMMIT_ITEMS_MAX + 1)]
    assert [len(part) for part in cut(many)] == [limits.RED_COMMIT_ITEMS_MAX, 1]
    big = [dataclasses.replace(one, bytes_max=limits.COMMIT_BYTES_MAX // 2) for one in many[:3]]
    assert [len(part) for part in cut(big)] == [2, 1]
    assert cut([]) == []
