"""A process that reads documents that anybody may have made: `python -m server.document_reader_process SIGNING`.

SIGNING is core.settings.SigningSettings in JSON. Started by server/document_reader.py, which gives each document so
much time by the clock; the process gives itself so much memory and, for each document, so much CPU. What goes beyond
ends in a refusal or in the end of the process. It writes no files and knows no store and no network.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
import traceback
from typing import Any, Final

from billow.types.v1 import invoice_pb2
from core import limits
from core.documents.findings import Kind, recognized
from core.documents.inspection import DocumentRead, compare, read_document, same_signature
from core.documents.load_keys import load_checker
from core.documents.read_invoice import ReadInvoice, Refusal, Unreadable
from core.documents.signatures import SignatureChecker
from core.domain.import_rules import import_faults
from core.settings import SigningSettings
from press.processes import DONE, FAILED, REFUSED, Answer, serve
from server.document_reader import FACTS, LENGTH, READ, SAME_SIGNATURE

_PARTY: Final = ("name", "tax_id", "address", "phone", "bank_name", "bank_account")
_SCALARS: Final = (
    *("number", "blue_number", "prices_include_tax", "remark", "drawer", "currency"),
    *("net_total_minor", "tax_total_minor", "gross_total_minor"),
)
_LINE: Final = (
    *("name", "category", "goods_code", "specification", "unit", "quantity", "unit_price", "amount_minor"),
    *("tax_rate_bp", "tax_minor", "net_minor", "gross_minor"),
)


def main() -> None:
    """Serves requests until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the server, which drains first
    checker = load_checker(SigningSettings(**json.loads(sys.argv[1])))
    confine()

    def work(name: str, content: bytes) -> Answer:
        allow_cpu()
        return answer(name, content, checker)

    serve(work, sys.stdin.buffer, sys.stdout.buffer)


def confine() -> None:
    """Bounds this process once and for all."""
    memory = limits.READER_MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_cpu() -> None:
    """Gives the next document its CPU time; SIGXCPU ends the process that goes beyond."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + limits.READER_CPU_S_MAX
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def answer(name: str, content: bytes, checker: SignatureChecker) -> Answer:
    """Does one piece of work; a refusal comes back as its reason and words, a fault as text."""
    try:
        return DONE, _done(name, content, checker)
    except Unreadable as error:
        return REFUSED, json.dumps([error.refusal, error.message]).encode()
    except (MemoryError, RecursionError):
        words = "reading the document took more memory than an invoice needs"
        return REFUSED, json.dumps([Refusal.TOO_COSTLY, words]).encode()
    except Exception:  # noqa: BLE001 (the border: one bad document must not end the process)
        return FAILED, traceback.format_exc().encode()


def _done(name: str, content: bytes, checker: SignatureChecker) -> bytes:
    if name == READ:
        read = read_document(_kind(content), content, checker)
        return _header(read) + message(read.invoice).SerializeToString()
    if name == FACTS:
        return json.dumps(_facts(read_document(_kind(content), content, checker))).encode()
    (length,) = LENGTH.unpack_from(content)
    document, other = content[LENGTH.size : LENGTH.size + length], content[LENGTH.size + length :]
    if name == SAME_SIGNATURE:
        return json.dumps(same_signature(_kind(document), document, other)).encode()
    found = compare(_kind(document), document, invoice_pb2.Invoice.FromString(other))
    listed = [(difference.path, difference.document, difference.issued) for difference in found.differences]
    return json.dumps([listed, found.difference_count, found.same_file]).encode()


def _facts(read: DocumentRead) -> dict[str, Any]:
    """What importing needs to know, as server.services.imports.DocumentFacts; texts are no longer than is lawful."""
    invoice = read.invoice
    message(invoice)  # refuses texts that nothing can hold
    faults = [(fault.field, fault.rule, fault.description) for fault in import_faults(invoice)]
    names = ("number", "kind", "color", "blue_number", "net_total_minor", "tax_total_minor", "gross_total_minor")
    return {
        **({} if faults else {name: getattr(invoice, name) for name in names}),
        "issued_at_us": invoice.issue_time.seconds * 1_000_000 + invoice.issue_time.nanos // 1_000,
        "seller_tax_id": "" if faults else invoice.seller.tax_id,
        "seller_name": "" if faults else invoice.seller.name,
        "buyer_tax_id": "" if faults else invoice.buyer.tax_id,
        "signature": read.signature,
        "faults": faults,
    }


def _kind(content: bytes) -> Kind:
    kind = recognized(content)
    if kind is None:
        raise Unreadable(Refusal.MALFORMED, "the document is no XML, OFD or PDF")
    return kind


def _header(read: DocumentRead) -> bytes:
    invoice = read.invoice
    facts = {
        "signature": read.signature,
        "whole_file": read.whole_file,
        "number": invoice.number,
        "issued_at_us": invoice.issue_time.seconds * 1_000_000 + invoice.issue_time.nanos // 1_000,
        "gross_total_minor": invoice.gross_total_minor,
    }
    header = json.dumps(facts).encode()
    return LENGTH.pack(len(header)) + header


def message(read: ReadInvoice) -> invoice_pb2.Invoice:
    """The invoice as a message of the contract. Raises Unreadable for texts that no message can hold."""
    made = invoice_pb2.Invoice(
        kind=invoice_pb2.InvoiceKind.ValueType(read.kind), color=invoice_pb2.InvoiceColor.ValueType(read.color)
    )
    try:
        for name in _SCALARS:
            setattr(made, name, getattr(read, name))
        made.issue_time.seconds, made.issue_time.nanos = read.issue_time.seconds, read.issue_time.nanos
        for side in ("seller", "buyer"):
            for name in _PARTY:
                setattr(getattr(made, side), name, getattr(getattr(read, side), name))
        for line in read.lines:
            item = made.lines.add(
                type=invoice_pb2.LineType.ValueType(line.type),
                zero_rate_reason=invoice_pb2.ZeroRateReason.ValueType(line.zero_rate_reason),
            )
            for name in _LINE:
                setattr(item, name, getattr(line, name))
    except (ValueError, UnicodeError) as error:
        raise Unreadable(Refusal.MALFORMED, "a text or number of the document cannot be right") from error
    return made


if __name__ == "__main__":
    main()
