"""Messages of callers: parsed as the guard parses them, converted and checked as the handlers do it, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from billow.entry.v1 import entry_pb2
from billow.inspection.v1 import inspection_pb2
from billow.issuance.v1 import issuance_pb2
from billow.redletter.v1 import redletter_pb2
from billow.registry.v1 import registry_pb2
from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2
from core import limits
from core.domain import body, verification
from core.domain.errors import BillowError, Reason
from core.domain.parties import Party
from core.storage.ports import Draft, Issued, SellerRecord, VerificationEntry
from server.convert import entries, errors, inspection, issuance, reading, red_letter, registry
from server.services import paging
from server.services.auth import _AUTHORIZATION
from server.services.reading import TIME_MAX_US
from server.services.red_letter import Blue
from server.services.registry_rules import range_faults, scope_faults, seller_faults
from tests.fuzz.decoder import Decoder
from tests.support.documents import issued_invoice
from tests.support.invoices import good_invoice, tax_id

TODAY = 20_261_122
AT_US = 1_795_376_043_123_456
NUMBER = "26110000000000000042"
Asked = TypeVar("Asked", bound=Message)


@cache
def seller() -> SellerRecord:
    """Who issues."""
    return SellerRecord(7, 1, "s-1", "cn", Party(name="示例卖方", tax_id=tax_id(9)), 0)


def parsed(kind: type[Asked], data: bytes) -> Asked | None:
    """The message, or None: the guard answers MALFORMED_MESSAGE."""
    try:
        return kind.FromString(data)
    except DecodeError:
        return None


def told(error: BillowError) -> None:
    """An error that a caller gets: with faults that are named, and small enough for the trailers of a call."""
    status = errors.status(error, "request")
    assert error.reason is not Reason.INTERNAL
    assert all(violation.rule and violation.description for violation in error.violations)
    assert status.ByteSize() <= limits.STATUS_BYTES_MAX, status.ByteSize()


def refusals(work: Callable[[], object]) -> None:
    """Does the work, or gets an error of ours."""
    try:
        result = work()
    except BillowError as error:
        told(error)
        return
    if isinstance(result, BillowError):
        told(result)


def issue(data: bytes) -> None:
    """IssueInvoice: a draft whose body reads back, with totals that agree, or the faults (P11)."""
    request = parsed(issuance_pb2.IssueInvoiceRequest, data)
    if request is None:
        return
    refusals(lambda: issuance.draft(issuance_pb2.IssueInvoiceRequest.FromString(data), None))
    draft = issuance.draft(request, seller())
    if isinstance(draft, BillowError):
        told(issuance.about(draft, request.seller_id))
        return
    invoice = invoice_pb2.Invoice.FromString(draft.prepared + body.suffix(AT_US, NUMBER))
    assert (invoice.number, invoice.seller.tax_id, invoice.blue_number) == (NUMBER, seller().party.tax_id, "")
    assert 0 <= draft.gross_total_minor <= limits.AMOUNT_MINOR_MAX
    assert draft.net_total_minor + draft.tax_total_minor == draft.gross_total_minor
    totals = (draft.net_total_minor, draft.tax_total_minor, draft.gross_total_minor)
    assert totals == (invoice.net_total_minor, invoice.tax_total_minor, invoice.gross_total_minor)
    lines = invoice.lines
    assert totals[:2] == (sum(line.net_minor for line in lines), sum(line.tax_minor for line in lines))
    again = issuance.draft(parsed(issuance_pb2.IssueInvoiceRequest, data) or request, seller())
    assert isinstance(again, Draft)
    assert again.request_sha256 == draft.request_sha256


def count(data: bytes) -> None:
    """A batch refused before it is parsed: a count that is never wild, and right of every batch as clients write it."""
    counted = issuance.count_requests(data)
    assert 1 <= counted <= max(1, len(data) // 2 + 1)
    request = parsed(issuance_pb2.BatchIssueInvoicesRequest, data)
    if request is not None:
        request.DiscardUnknownFields()
        assert issuance.count_requests(request.SerializeToString()) == max(1, len(request.requests))


@cache
def _blue() -> Blue:
    invoice = issued_invoice(8)
    issued = Issued(
        invoice.number, 7, "r", bytes(32), int(invoice.kind), 1, AT_US, invoice.net_total_minor,
        invoice.tax_total_minor, invoice.gross_total_minor, invoice.buyer.tax_id, bytes(32),
    )  # fmt: skip
    return Blue(issued, invoice.SerializeToString(deterministic=True), seller())


def red(data: bytes) -> None:
    """IssueRedInvoice: faults, or parts that never exceed the blue invoice (P4)."""
    request = parsed(redletter_pb2.IssueRedInvoiceRequest, data)
    if request is None:
        return
    blue = _blue()
    faults = red_letter.request_faults(request)
    told(BillowError(Reason.INVALID_REQUEST, "rules", violations=faults))
    if faults:
        return
    maker = red_letter.RedMaker(blue, request.selection)
    if faults := maker.faults():
        told(BillowError(Reason.INVALID_REQUEST, "rules", violations=faults))
        return
    try:
        shape = maker.draft(request, seller()).shape({})
    except BillowError as error:
        told(error)
        return
    assert 0 < -shape.draft.gross_total_minor <= blue.issued.gross_total_minor
    assert all(part.net >= 0 and part.tax >= 0 for part in shape.parts)


def verify(data: bytes) -> None:
    """Checks of a batch: a result each."""
    request = parsed(verification_pb2.BatchVerifyInvoicesRequest, data)
    if request is None:
        return
    entry = VerificationEntry(NUMBER, AT_US, 2, 10_000, 11_300, 0, tax_id(9), tax_id(1))
    for check in request.checks:
        result = verification.before_lookup(check, TODAY) or verification.compare(check, entry)
        assert verification.Outcome(result[0])
        verification.needs_key(check)


def listing(data: bytes) -> None:
    """ListInvoices: what is wanted, and its page token."""
    request = parsed(issuance_pb2.ListInvoicesRequest, data)
    if request is None:
        return

    def work() -> None:
        wanted = reading.wanted(request)
        assert 0 <= wanted.issued_from_us <= TIME_MAX_US
        paging.size_of(wanted.page_size)
        paging.decode(("invoices", wanted.seller_id), wanted.page_token)

    refusals(work)


def enter(data: bytes) -> None:
    """EnterInvoices and WithdrawEntries."""
    entered = parsed(entry_pb2.EnterInvoicesRequest, data)
    for item in entered.entries if entered else ():
        refusals(partial(entries.entering, item))
    withdrawn = parsed(entry_pb2.WithdrawEntriesRequest, data)
    for one in withdrawn.withdrawals if withdrawn else ():
        refusals(partial(entries.withdrawing, one))


def register(data: bytes) -> None:
    """CreateSeller, AddNumberRange, CreateApiKey."""
    made = parsed(registry_pb2.CreateSellerRequest, data)
    if made is not None:
        faults = seller_faults(made.seller_id, registry.party(made.party), made.profile)
        told(BillowError(Reason.INVALID_REQUEST, "rules", violations=faults))
    added = parsed(registry_pb2.AddNumberRangeRequest, data)
    if added is not None:
        numbers = added.first_number, added.last_number
        faults = range_faults(added.seller_id, added.kind, *numbers, color=added.color)
        told(BillowError(Reason.INVALID_REQUEST, "rules", violations=faults))
    key = parsed(registry_pb2.CreateApiKeyRequest, data)
    if key is not None:
        told(BillowError(Reason.INVALID_REQUEST, "rules", violations=scope_faults(key.scopes)))


def inspect(data: bytes) -> None:
    """VerifyDocument before the document is opened."""
    request = parsed(inspection_pb2.VerifyDocumentRequest, data)
    if request is not None:
        refusals(lambda: inspection.check_document(request.content, request.file_name))


def authorization(data: bytes) -> None:
    """The header with the key."""
    found = _AUTHORIZATION.fullmatch(data.decode("latin-1"))
    assert found is None or len(found[1]) == 46


def page_token(data: bytes) -> None:
    """A token is one that was made for this listing, in its one spelling, or refused."""
    token = data.decode("latin-1")

    def work() -> None:
        key = paging.decode(("invoices", "s-1"), token)
        assert not token or paging.encode(("invoices", "s-1"), key) == token

    refusals(work)


def _messages(*found: Message) -> list[bytes]:
    return [message.SerializeToString() for message in found]


def _issue_seeds() -> list[bytes]:
    gross = good_invoice(2)
    gross.prices_include_tax = True
    invoices: Iterable[invoice_pb2.Invoice] = (good_invoice(1), gross, issued_invoice(8))
    made = [issuance_pb2.IssueInvoiceRequest(seller_id="s-1", request_id="r-1", invoice=item) for item in invoices]
    return _messages(*made)


def _red_seeds() -> list[bytes]:
    made = []
    extents = (
        redletter_pb2.RED_EXTENT_WHOLE,
        redletter_pb2.RED_EXTENT_REMAINDER,
        redletter_pb2.RED_EXTENT_LINES,
    )
    for extent in extents:
        selection = redletter_pb2.RedSelection(
            blue_number=NUMBER, reason=redletter_pb2.RED_REASON_ISSUED_IN_ERROR, extent=extent
        )
        made.append(redletter_pb2.IssueRedInvoiceRequest(seller_id="s-1", request_id="r", selection=selection))
    made[2].selection.lines.add(line=1, quantity="1")
    made[2].selection.lines.add(line=2, net_minor=100)
    made[2].selection.lines.add(line=3, gross_minor=100)
    return _messages(*made)


def _count_seeds() -> list[bytes]:
    batches = [issuance_pb2.BatchIssueInvoicesRequest() for _ in range(3)]
    for items, batch in enumerate(batches):
        for place in range(items):
            batch.requests.add(seller_id="s-1", request_id=f"r-{place}", invoice=good_invoice())
    return _messages(*batches)


def _verify_seeds() -> list[bytes]:
    request = verification_pb2.BatchVerifyInvoicesRequest()
    request.checks.add(number=NUMBER, issue_date=20_261_123, gross_total_minor=11_300)
    request.checks.add(
        number=NUMBER, issue_date=TODAY, gross_total_minor=1, kind=2, seller_tax_id="x", net_total_minor=1
    )
    return _messages(request)


def _listing_seeds() -> list[bytes]:
    token = paging.encode(("invoices", "s-1"), NUMBER)
    request = issuance_pb2.ListInvoicesRequest(seller_id="s-1", page_size=5, page_token=token)
    request.issued_from.seconds, request.issued_before.nanos = 1_795_000_000, 999_999_999
    return _messages(request)


def _enter_seeds() -> list[bytes]:
    entered, withdrawn = entry_pb2.EnterInvoicesRequest(), entry_pb2.WithdrawEntriesRequest()
    entered.entries.add(number=NUMBER, request_id="r", state=1, period=202_611, ledger_reference="L")
    withdrawn.withdrawals.add(number=NUMBER, request_id="r")
    return _messages(entered, withdrawn)


def _register_seeds() -> list[bytes]:
    made = registry_pb2.CreateSellerRequest(seller_id="s-1", profile="cn")
    made.party.name, made.party.tax_id = "示例", tax_id(3)
    added = registry_pb2.AddNumberRangeRequest(seller_id="s-1", first_number=NUMBER, last_number=NUMBER)
    added.kind = invoice_pb2.INVOICE_KIND_GENERAL
    return _messages(made, added, registry_pb2.CreateApiKeyRequest(scopes=["read", "issue"]))


DECODERS = (
    Decoder("issue", issue, _issue_seeds, message=issuance_pb2.IssueInvoiceRequest),
    Decoder("count", count, _count_seeds, message=issuance_pb2.BatchIssueInvoicesRequest),
    Decoder("red", red, _red_seeds, message=redletter_pb2.IssueRedInvoiceRequest),
    Decoder("verify", verify, _verify_seeds, message=verification_pb2.BatchVerifyInvoicesRequest),
    Decoder("listing", listing, _listing_seeds, message=issuance_pb2.ListInvoicesRequest),
    Decoder("enter", enter, _enter_seeds, message=entry_pb2.EnterInvoicesRequest),
    Decoder("register", register, _register_seeds, message=registry_pb2.CreateSellerRequest),
    Decoder("inspect", inspect, lambda: _messages(inspection_pb2.VerifyDocumentRequest(content=b"<a/>"))),
    Decoder("authorization", authorization, lambda: [b"Bearer bk_" + b"a" * 43], 256),
    Decoder("page_token", page_token, lambda: [paging.encode(("invoices", "s-1"), NUMBER).encode()], 256),
)
