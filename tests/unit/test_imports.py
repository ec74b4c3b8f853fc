"""Import of foreign invoices: what is checked, what is refused, what is kept (P8)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from billow.collection.v1 import imports_pb2
from billow.types.v1 import invoice_pb2
from core.documents.read_xml import read_cn_xml
from core.documents.renderers import make_renderers
from core.domain.errors import BillowError, Reason
from core.domain.import_rules import import_faults
from core.limits import VIOLATIONS_MAX
from core.storage.memory.imports import MemoryImportStore
from core.storage.memory.objects import MemoryObjectStore
from server.convert.inspection import SIGNATURES as MESSAGE_SIGNATURES
from server.services.imports import SIGNATURES, ImportService, Outcome
from tests.support.documents import FONT, NUMBER, issued_invoice
from tests.support.inspecting import OWNER, STRANGER, Inspecting, inspecting, render

FOREIGN = "25440000000000000007"
WAIT_MS = 10


class Proofs:
    """The TaxIdStore as far as importing asks."""

    def __init__(self, proven: set[str]) -> None:
        self.proven = proven

    async def is_proven(self, tenant_key: int, tax_id: str) -> bool:
        return tax_id in self.proven


class Away(MemoryObjectStore):
    """An object store that can be away."""

    away = False

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        if self.away:
            raise BillowError(Reason.STORAGE_UNAVAILABLE, "away")
        await super().put(key, data, retain_until_us=retain_until_us)


@dataclass(slots=True)
class Importing:
    service: ImportService
    around: Inspecting
    proofs: Proofs
    objects: Away
    store: MemoryImportStore

    async def bring(self, content: bytes) -> Outcome:
        return (await self.service.import_invoice(STRANGER, content)).outcome


@pytest.fixture
def subject(tmp_path: Path) -> Importing:
    around = inspecting(tmp_path)
    proofs, objects, store = Proofs({around.known.invoice.buyer.tax_id}), Away(), MemoryImportStore()
    service = ImportService(
        reader=around.reader,
        inspector=around.service,
        tax_ids=proofs,  # type: ignore[arg-type]
        store=store,
        objects=objects,
        retention_days=1,
        now_us=lambda: around.known.invoice.issue_time.seconds * 1_000_000,
        wait_max_ms=WAIT_MS,
    )
    return Importing(service, around, proofs, objects, store)


def foreign(name: str = "xml", change: Callable[[invoice_pb2.Invoice], None] | None = None) -> bytes:
    """A document of an invoice that nobody here issued, not signed."""
    invoice = issued_invoice(3)
    invoice.number, invoice.currency = FOREIGN, "CNY"
    for line in invoice.lines:
        line.quantity = line.unit_price = ""
    return render(make_renderers(font=FONT)[name], invoice, change)


@pytest.mark.parametrize("name", ["xml", "ofd", "pdf"])
async def test_a_foreign_invoice_is_kept_with_its_bytes(subject: Importing, name: str) -> None:
    content = foreign(name)
    done = await subject.service.import_invoice(STRANGER, content)
    assert done.outcome is Outcome.IMPORTED, done
    kept = done.imported
    assert kept is not None
    assert (kept.number, kept.verified, kept.signature) == (FOREIGN, False, 1)
    assert (kept.sha256, kept.size_bytes) == (hashlib.sha256(content).digest(), len(content))
    assert subject.objects.objects == {kept.object_key: content}
    assert kept.object_key == f"imports/{STRANGER.tenant_key}/{kept.sha256.hex()}.{name}"
    assert kept.gross_total_minor == issued_invoice(3).gross_total_minor


async def test_the_same_bytes_get_the_first_import_and_other_ones_are_refused(subject: Importing) -> None:
    first = await subject.service.import_invoice(STRANGER, foreign())
    again = await subject.service.import_invoice(STRANGER, foreign())
    assert (again.outcome, again.imported) == (Outcome.ALREADY_IMPORTED, first.imported)
    for other in (foreign("pdf"), foreign(change=lambda invoice: setattr(invoice, "remark", "2"))):
        refused = await subject.service.import_invoice(STRANGER, other)
        assert (refused.outcome, refused.imported) == (Outcome.CONFLICT, first.imported)
    special = foreign(change=lambda invoice: setattr(invoice, "kind", invoice_pb2.INVOICE_KIND_SPECIAL))
    assert await subject.bring(special) is Outcome.CONFLICT  # the kind makes no second invoice of it
    assert len(subject.objects.objects) == 1
    other_tenant = await subject.service.import_invoice(OWNER, foreign("pdf"))
    assert other_tenant.outcome is Outcome.IMPORTED


async def test_ours_is_verified_and_altered_ones_are_refused(subject: Importing) -> None:
    altered = subject.around.document("xml", lambda invoice: setattr(invoice, "remark", "2"))
    refused = await subject.service.import_invoice(STRANGER, altered)
    assert (refused.outcome, refused.altered_fields) == (Outcome.ALTERED, ("remark",))
    assert subject.objects.objects == {}
    for line in subject.around.known.invoice.lines:
        line.quantity = line.unit_price = ""
    done = await subject.service.import_invoice(STRANGER, subject.around.document("pdf"))
    assert done.imported is not None
    assert (done.outcome, done.imported.verified, done.imported.signature) == (Outcome.IMPORTED, True, 2)
    assert done.imported.number == NUMBER


async def test_what_nobody_proved_cannot_be_read_or_is_too_old_is_refused(subject: Importing) -> None:
    assert await subject.bring(b"\x89PNG") is Outcome.UNREADABLE
    assert await subject.bring(b"<svg/>") is Outcome.UNREADABLE
    old = foreign(change=lambda invoice: setattr(invoice.issue_time, "seconds", 1_500_000_000))
    assert await subject.bring(old) is Outcome.TOO_OLD
    subject.proofs.proven.clear()
    assert await subject.bring(foreign()) is Outcome.BUYER_NOT_PROVEN
    assert subject.objects.objects == {}
    assert await subject.store.imports(STRANGER.tenant_key, after=0, items_max=9) == []


async def test_one_in_the_future_breaks_a_rule(subject: Importing) -> None:
    late = foreign(change=lambda invoice: setattr(invoice.issue_time, "seconds", 1_795_000_000 + 2 * 86_400))
    done = await subject.service.import_invoice(STRANGER, late)
    assert [(fault.field, fault.rule) for fault in done.faults] == [("issue_time", "FUTURE")]


async def test_nothing_is_imported_while_the_object_store_is_away(subject: Importing) -> None:
    subject.objects.away = True
    with pytest.raises(BillowError) as error:
        await subject.bring(foreign())
    assert error.value.reason is Reason.STORAGE_UNAVAILABLE
    assert await subject.store.imports(STRANGER.tenant_key, after=0, items_max=9) == []
    subject.objects.away = False
    assert await subject.bring(foreign()) is Outcome.IMPORTED


def faults_of(change: Callable[[invoice_pb2.Invoice], None]) -> set[tuple[str, str]]:
    read = read_cn_xml(foreign(change=change))
    return {(fault.field, fault.rule) for fault in import_faults(read)}


def priced(invoice: invoice_pb2.Invoice) -> None:
    line = invoice.lines[0]
    line.quantity, line.unit_price = "3", f"{line.amount_minor / 100:.2f}"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda invoice: setattr(invoice, "number", "1"), ("number", "NUMBER_FORM")),
        (lambda invoice: setattr(invoice.seller, "tax_id", "x"), ("seller.tax_id", "TAX_ID_FORM")),
        (lambda invoice: setattr(invoice.buyer, "tax_id", ""), ("buyer.tax_id", "REQUIRED")),
        (lambda invoice: setattr(invoice.buyer, "name", "长" * 101), ("buyer.name", "TOO_LONG")),
        (lambda invoice: setattr(invoice, "net_total_minor", 1), ("net_total_minor", "TOTAL")),
        (lambda invoice: setattr(invoice, "tax_total_minor", 1), ("gross_total_minor", "TOTAL")),
        (lambda invoice: setattr(invoice.lines[0], "gross_minor", 1), ("lines[0].gross_minor", "AMOUNT")),
        (lambda invoice: setattr(invoice.lines[1], "tax_rate_bp", 100), ("lines[1].tax_minor", "TAX")),
        (lambda invoice: setattr(invoice.lines[1], "quantity", "1"), ("lines[1].unit_price", "QUANTITY_AND_PRICE")),
        (priced, ("lines[0].amount_minor", "AMOUNT")),
        (lambda invoice: setattr(invoice, "color", 2), ("blue_number", "NUMBER_FORM")),
        (lambda invoice: setattr(invoice, "color", 2), ("gross_total_minor", "SIGN")),
    ],
    ids=range(12),
)
def test_every_rule_names_its_field(change: Callable[[invoice_pb2.Invoice], None], fault: tuple[str, str]) -> None:
    assert fault in faults_of(change)


def test_a_good_one_breaks_no_rule_and_faults_are_bounded() -> None:
    assert faults_of(lambda invoice: None) == set()
    many = issued_invoice(200)
    for line in many.lines:
        line.gross_minor += 7
    assert len(import_faults(many)) == VIOLATIONS_MAX


def test_the_enumerations_are_in_step_with_the_contract() -> None:
    names = {name.removeprefix("IMPORT_OUTCOME_"): value for name, value in imports_pb2.ImportOutcome.items() if value}
    assert names == {outcome.name: int(outcome) for outcome in Outcome}
    assert SIGNATURES == MESSAGE_SIGNATURES
