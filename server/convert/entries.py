"""Entries and claims to messages, and back to the changes that are wanted."""

from __future__ import annotations

from collections.abc import Iterable

from billow.entry.v1 import entry_pb2
from billow.registry.v1 import tax_ids_pb2
from core.domain.entry import Change, Entry, EntryState, faults
from core.domain.errors import BillowError, Reason
from server.convert import errors
from server.convert.registry import timestamp
from server.services.tax_ids import Claim


def entering(request: entry_pb2.EnterInvoiceRequest) -> Change | BillowError:
    """Reads one entry, or tells every rule it breaks."""
    state = int(request.state)
    state = 0 if state == EntryState.WITHDRAWN else state  # that is what WithdrawEntries is for
    return _change(request, state, request.period)


def withdrawing(request: entry_pb2.WithdrawEntryRequest) -> Change | BillowError:
    """Reads one withdrawal, or tells every rule it breaks."""
    return _change(request, EntryState.WITHDRAWN, 0)


def _change(
    request: entry_pb2.EnterInvoiceRequest | entry_pb2.WithdrawEntryRequest, state: int, period: int
) -> Change | BillowError:
    """Builds a change, or the error with every rule it breaks."""
    request_id, number, reference, code = request.request_id, request.number, request.ledger_reference, request.code
    broken = faults(
        request_id=request_id, number=number, state=state, period=period, ledger_reference=reference, code=code
    )
    if broken:
        words = f"the request breaks {len(broken)} rule{'s' if len(broken) > 1 else ''}"
        return BillowError(Reason.INVALID_REQUEST, words, violations=broken)
    return Change(request_id, number, EntryState(state), period, reference, code)


def entry(found: Entry) -> entry_pb2.Entry:
    """Builds the message of an entry."""
    return entry_pb2.Entry(
        number=found.number,
        state=entry_pb2.EntryState.ValueType(int(found.state)),
        period=found.period,
        ledger_reference=found.ledger_reference,
        version=found.version,
        change_time=timestamp(found.changed_at_us) if found.version else None,
        code=found.code,
    )


def results(answers: Iterable[Entry | BillowError], request_id: str) -> list[entry_pb2.EntryResult]:
    """Builds the results of a batch."""
    return [
        entry_pb2.EntryResult(entry=entry(answer))
        if isinstance(answer, Entry)
        else entry_pb2.EntryResult(error=errors.status(answer, request_id))
        for answer in answers
    ]


def claim(found: Claim) -> tax_ids_pb2.TaxId:
    """Builds the message of a claim."""
    record = found.record
    return tax_ids_pb2.TaxId(
        tenant_id=found.tenant_id,
        tax_id=record.tax_id,
        claim_time=timestamp(record.claimed_at_us),
        confirm_time=None if record.confirmed_at_us is None else timestamp(record.confirmed_at_us),
    )
