"""Inspection of documents: every format genuine and altered, who is told what, and the public count (P4, P7, P8)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pikepdf
import pytest

from billow.inspection.v1 import inspection_pb2
from billow.types.v1 import invoice_pb2
from core.documents.findings import Kind, SignatureState, recognized
from core.documents.formats import OFD, PDF, XML
from core.documents.read_invoice import Refusal
from core.documents.renderers import make_renderers
from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceState
from press.kept import key_of
from server.convert.inspection import REASONS, SIGNATURES, check_document, response
from server.services.inspection import Verdict
from tests.support.documents import FONT, NUMBER, issued_invoice
from tests.support.inspecting import OWNER, STRANGER, Inspecting, inspecting, render
from tests.support.signing_keys import key_pair, ring

FORMATS = ("xml", "ofd", "pdf")
SIGNATURE = re.compile(rb"<ds:Signature .*</ds:Signature>", re.DOTALL)


@pytest.fixture
def subject(tmp_path: Path) -> Inspecting:
    return inspecting(tmp_path)


def dearer(invoice: invoice_pb2.Invoice) -> None:
    """A line costs more, and every sum agrees with it."""
    line = invoice.lines[1]
    for party in (line, invoice):
        for name in ("amount_minor", "net_minor", "gross_minor", "net_total_minor", "gross_total_minor"):
            if name in party.DESCRIPTOR.fields_by_name:
                setattr(party, name, getattr(party, name) + 100)
    line.quantity = line.unit_price = ""


def renamed(invoice: invoice_pb2.Invoice) -> None:
    invoice.buyer.name = "另一家公司"


async def test_a_document_without_a_canonical_form_is_not_ours_byte_for_byte(subject: Inspecting) -> None:
    content = subject.document("xml").replace(b"<EInvoice", b'<EInvoice xmlns:h="relative/uri"', 1)
    found = await subject.inspect(content, OWNER)
    assert found.verdict is Verdict.ALTERED
    assert [difference.path for difference in found.differences] == ["document"]


@pytest.mark.parametrize("name", FORMATS)
async def test_what_we_give_out_is_genuine(subject: Inspecting, name: str) -> None:
    for caller in (None, STRANGER, OWNER):
        found = await subject.inspect(subject.document(name), caller)
        assert (found.verdict, found.byte_identical, found.kind) == (Verdict.GENUINE, True, Kind[name.upper()])
        assert (found.state, found.red_total_minor) == (InvoiceState.NORMAL, 0)
        assert found.read is not None
        assert found.read.signature is SignatureState.VALID
        assert invoice_pb2.Invoice.FromString(found.read.invoice) == subject.known.invoice


async def test_what_was_red_lettered_since_is_genuine_and_says_so(subject: Inspecting) -> None:
    subject.known.red_total_minor = -subject.known.invoice.gross_total_minor
    found = await subject.inspect(subject.document("pdf"), None)
    assert (found.verdict, found.state) == (Verdict.GENUINE, InvoiceState.FULLY_RED)
    assert found.red_total_minor == -subject.known.invoice.gross_total_minor


@pytest.mark.parametrize("name", FORMATS)
async def test_a_field_that_was_altered_is_named(subject: Inspecting, name: str) -> None:
    stolen = make_renderers(font=FONT, keys=ring(*key_pair("somebody")))[name]
    altered = render(stolen, subject.known.invoice, renamed)
    found = await subject.inspect(altered)
    assert (found.verdict, found.byte_identical, found.state) == (Verdict.ALTERED, False, None)
    assert [(each.path, each.document, each.issued) for each in found.differences] == [("buyer.name", "另一家公司", "")]
    true = subject.known.invoice.buyer.name
    assert [each.issued for each in (await subject.inspect(altered, OWNER)).differences] == [true]
    without_read = replace(OWNER, scopes=frozenset({"verify"}))
    assert [each.issued for each in (await subject.inspect(altered, without_read)).differences] == [""]


async def test_every_altered_field_has_its_path(subject: Inspecting) -> None:
    def change(invoice: invoice_pb2.Invoice) -> None:
        dearer(invoice)
        invoice.seller.bank_account = "1"
        invoice.issue_time.seconds -= 60
        invoice.remark = "x" * 300
        invoice.kind = invoice_pb2.INVOICE_KIND_SPECIAL
        del invoice.lines[2]

    found = await subject.inspect(subject.document("xml", change), OWNER)
    paths = {each.path for each in found.differences}
    assert paths >= {
        *("kind", "remark", "issue_time", "seller.bank_account", "net_total_minor", "gross_total_minor", "lines"),
        *("lines[1].amount_minor", "lines[1].net_minor", "lines[1].quantity", "lines[1].unit_price"),
    }
    assert found.difference_count == len(found.differences)
    assert max(len(each.document) for each in found.differences) == 200


async def test_many_differences_are_counted_not_listed(subject: Inspecting) -> None:
    def change(invoice: invoice_pb2.Invoice) -> None:
        for line in invoice.lines:
            line.unit = "箱"

    subject.known.invoice.CopyFrom(issued_invoice(150))
    found = await subject.inspect(subject.document("xml", change))
    assert (len(found.differences), found.difference_count > 100) == (100, True)


async def test_a_signature_taken_off_leaves_genuine_words(subject: Inspecting) -> None:
    stripped = SIGNATURE.sub(b"", subject.document("xml"))
    found = await subject.inspect(stripped)
    assert found.read is not None
    assert (found.verdict, found.byte_identical) == (Verdict.GENUINE, False)
    assert found.read.signature is SignatureState.UNSIGNED
    added = stripped.replace(b"<EInvoiceData>", b"<EInvoiceData><Note>pay elsewhere</Note>")
    assert (await subject.inspect(added)).verdict is Verdict.DATA_GENUINE


async def test_a_signature_of_somebody_else_says_nothing(subject: Inspecting) -> None:
    other = make_renderers(font=FONT, keys=ring(*key_pair("somebody")))
    found = await subject.inspect(render(other["xml"], subject.known.invoice))
    assert found.read is not None
    assert (found.verdict, found.read.signature) == (Verdict.GENUINE, SignatureState.UNKNOWN)


async def test_what_stands_beside_the_fields_is_signed_too(subject: Inspecting) -> None:
    added = subject.document("xml").replace(b"<EInvoiceData>", b"<EInvoiceData><Note>pay elsewhere</Note>")
    found = await subject.inspect(added)
    assert found.read is not None
    assert (found.verdict, found.read.signature) == (Verdict.ALTERED, SignatureState.BROKEN)
    assert [each.path for each in found.differences] == ["document"]


async def test_other_pages_around_genuine_data_are_not_called_genuine(subject: Inspecting) -> None:
    saved = io.BytesIO()
    with pikepdf.open(io.BytesIO(subject.document("pdf"))) as file:
        for page in file.pages:  # without the signature of the PDF
            del page["/Annots"]
        del file.Root["/AcroForm"]
        file.add_blank_page()
        file.save(saved)
    found = await subject.inspect(saved.getvalue())
    assert (found.verdict, found.byte_identical) == (Verdict.DATA_GENUINE, False)
    package = io.BytesIO(subject.document("ofd"))
    with zipfile.ZipFile(package, "a") as archive:
        archive.writestr("Doc_0/Pages/Page_9/Content.xml", "<x/>")
    found = await subject.inspect(package.getvalue())
    assert (found.verdict, found.byte_identical) == (Verdict.DATA_GENUINE, False)


async def test_bytes_added_to_a_signed_pdf_are_an_alteration(subject: Inspecting) -> None:
    found = await subject.inspect(subject.document("pdf") + b"\n%\n")
    assert found.verdict in {Verdict.ALTERED, Verdict.UNREADABLE}


async def test_what_was_given_out_by_an_earlier_version_is_ours(subject: Inspecting) -> None:
    package = io.BytesIO(subject.document("ofd"))
    with zipfile.ZipFile(package, "a") as archive:
        archive.writestr("earlier.txt", "")
    assert (await subject.inspect(package.getvalue())).verdict is Verdict.DATA_GENUINE
    await subject.objects.put(key_of(replace(OFD, version=1), NUMBER), package.getvalue(), retain_until_us=1)
    assert OFD.version > 1
    found = await subject.inspect(package.getvalue())
    assert (found.verdict, found.byte_identical) == (Verdict.GENUINE, True)


async def test_an_unknown_number_is_unknown_and_not_counted(subject: Inspecting) -> None:
    def other(invoice: invoice_pb2.Invoice) -> None:
        invoice.number = "26110000000000009999"

    found = await subject.inspect(subject.document("xml", other), None)
    assert (found.verdict, found.state, subject.known.checks_left) == (Verdict.UNKNOWN, None, 5)
    assert subject.known.asked == ["26110000000000009999"]


async def test_a_number_of_another_form_is_unknown_without_asking(subject: Inspecting) -> None:
    def other(invoice: invoice_pb2.Invoice) -> None:
        invoice.number = "012345678901/12345678"

    assert (await subject.inspect(subject.document("xml", other))).verdict is Verdict.UNKNOWN
    assert subject.known.asked == []


async def test_an_old_one_is_too_old(subject: Inspecting) -> None:
    def old(invoice: invoice_pb2.Invoice) -> None:
        invoice.issue_time.seconds -= 6 * 366 * 86_400

    assert (await subject.inspect(subject.document("xml", old))).verdict is Verdict.TOO_OLD


async def test_without_a_key_an_invoice_is_inspected_five_times_a_day(subject: Inspecting) -> None:
    content = subject.document("xml")
    verdicts = [(await subject.inspect(content, None)).verdict for _ in range(6)]
    assert verdicts == [Verdict.GENUINE] * 5 + [Verdict.TOO_MANY_CHECKS]
    assert (await subject.inspect(content)).verdict is Verdict.GENUINE


async def test_without_a_key_fields_are_told_only_to_holders(subject: Inspecting) -> None:
    forger = make_renderers(font=FONT, keys=ring(*key_pair("somebody")))["xml"]

    def guess(invoice: invoice_pb2.Invoice) -> None:
        dearer(invoice)
        renamed(invoice)

    made_up = await subject.inspect(render(forger, subject.known.invoice, guess), None)
    assert (made_up.verdict, made_up.withheld, made_up.differences) == (Verdict.ALTERED, True, ())
    assert made_up.difference_count == 0
    by_total = await subject.inspect(render(forger, subject.known.invoice, renamed), None)
    assert (by_total.withheld, [each.path for each in by_total.differences]) == (False, ["buyer.name"])
    held = SIGNATURE.sub(
        lambda _: SIGNATURE.findall(subject.document("xml"))[0], render(forger, subject.known.invoice, guess)
    )
    by_signature = await subject.inspect(held, None)
    assert not by_signature.withheld
    assert {"buyer.name", "gross_total_minor"} <= {each.path for each in by_signature.differences}
    assert {each.issued for each in by_signature.differences} == {""}


async def test_a_made_up_document_has_nothing_rendered(subject: Inspecting) -> None:
    unsigned = make_renderers(font=FONT)["pdf"]
    await subject.inspect(render(unsigned, subject.known.invoice, dearer), None)
    assert subject.press.rendered == []
    assert subject.objects.objects == {}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xef\xbb\xbf \n<a/>", Kind.XML),
        (b"PK\x03\x04", Kind.OFD),
        (b"\0\0%PDF-1.4", Kind.PDF),
        (b"PK\x05\x06%PDF-", Kind.PDF),
        (b"\x89PNG", None),
        (b" " * 2_000 + b"%PDF-", None),
    ],
)
def test_formats_are_told_by_the_content(content: bytes, kind: Kind | None) -> None:
    assert recognized(content) is kind


async def test_what_is_no_document_is_told_in_words(subject: Inspecting) -> None:
    found = await subject.inspect(b"\x89PNG\r\n", None)
    assert (found.verdict, found.kind, found.detail != "") == (Verdict.UNRECOGNIZED, None, True)


@pytest.mark.parametrize(
    ("content", "rules"),
    [(b"", [("content", "REQUIRED")]), (b"x" * (10 * 2**20 + 1), [("content", "TOO_LONG")])],
)
def test_what_is_not_looked_at_is_refused(content: bytes, rules: list[tuple[str, str]]) -> None:
    with pytest.raises(BillowError) as refused:
        check_document(content, "n" * 255)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert [(fault.field, fault.rule) for fault in refused.value.violations] == rules


async def test_the_message_says_all_of_it(subject: Inspecting) -> None:
    message = response(await subject.inspect(subject.document("xml", renamed), OWNER))
    assert message.outcome == inspection_pb2.INSPECTION_OUTCOME_ALTERED
    assert message.document_invoice.buyer.name == "另一家公司"
    assert [(each.path, each.issued_value) for each in message.differences] == [
        ("buyer.name", subject.known.invoice.buyer.name)
    ]
    assert message.HasField("byte_identical")
    unread = response(await subject.inspect(b"<svg/>"))
    assert unread.unreadable_reason == inspection_pb2.UNREADABLE_REASON_NOT_AN_INVOICE
    assert not unread.HasField("byte_identical")
    assert not unread.HasField("document_invoice")


def test_the_enumerations_are_in_step_with_the_contract() -> None:
    def names(items: Iterable[tuple[str, int]], prefix: str) -> dict[str, int]:
        return {name.removeprefix(prefix): value for name, value in items if value}

    outcomes = names(inspection_pb2.InspectionOutcome.items(), "INSPECTION_OUTCOME_")
    assert outcomes == {verdict.name: verdict for verdict in Verdict}
    assert names(inspection_pb2.DocumentKind.items(), "DOCUMENT_KIND_") == {kind.name: kind for kind in Kind}
    reasons = names(inspection_pb2.UnreadableReason.items(), "UNREADABLE_REASON_")
    assert reasons == {refusal.name: REASONS[refusal] for refusal in Refusal}
    assert set(SIGNATURES) == set(SignatureState)
    assert {XML.name, OFD.name, PDF.name} == set(FORMATS)
