"""Account entry: the states of an invoice in its buyer's books, and which change is allowed. Pure, no I/O.

Source: DOMAIN.md, "Account entry": 01 not entered, 02 entered (deductible), 03 entered (not deductible), 06 entry
withdrawn; an invoice is entered once, and may be entered again after a withdrawal.
"""

from __future__ import annotations

import enum
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from core import limits
from core.domain.errors import BillowError, Reason, Violation

REQUEST_ID_FORM: Final = re.compile(rf"[\x20-\x7e]{{1,{limits.REQUEST_ID_CHARS_MAX}}}")
NUMBER_FORM: Final = re.compile(rf"[0-9]{{{limits.NUMBER_CHARS}}}")
CODE_FORM: Final = re.compile(rf"[0-9]{{{limits.OLD_CODE_CHARS}}}")  # of older invoices (DOMAIN.md)
OLD_NUMBER_FORM: Final = re.compile(rf"[0-9]{{{limits.OLD_NUMBER_CHARS}}}")  # beside a code
YEARS: Final = (2000, 2099)  # of a period


class EntryState(enum.IntEnum):
    """Where an invoice stands; the values are the official codes and those of billow.entry.v1.EntryState."""

    NOT_ENTERED = 1
    DEDUCTIBLE = 2
    NOT_DEDUCTIBLE = 3
    WITHDRAWN = 6


ENTERED: Final = frozenset({EntryState.DEDUCTIBLE, EntryState.NOT_DEDUCTIBLE})


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry of an invoice as its `version`-th change left it. Period is YYYYMM, 0 while never entered.

    `code` is that of older invoices, empty for others.
    """

    number: str
    state: EntryState
    period: int
    ledger_reference: str
    version: int
    changed_at_us: int
    code: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One wanted change: to DEDUCTIBLE or NOT_DEDUCTIBLE with a period, or to WITHDRAWN with period 0."""

    request_id: str
    number: str
    state: EntryState
    period: int
    ledger_reference: str
    code: str = ""

    def sha256(self) -> bytes:
        """The digest that tells whether a repeated request id asks for the same."""
        parts = [self.number, f"{int(self.state):d}", f"{self.period:d}", self.ledger_reference]
        if self.code:  # those without one have the digests that they always had
            parts.append(self.code)
        return hashlib.sha256("\x00".join(parts).encode()).digest()


def absent(number: str, code: str = "") -> Entry:
    """The entry of an invoice that was never entered."""
    return Entry(number, EntryState.NOT_ENTERED, 0, "", 0, 0, code)


def name_faults(number: str, code: str) -> list[Violation]:
    """Returns every broken rule of an invoice's number, and of its code if it has one."""
    found = []
    if code and not CODE_FORM.fullmatch(code):
        found.append(Violation("code", "CODE_FORM", f"must be {limits.OLD_CODE_CHARS} digits or empty"))
    form, digits = (OLD_NUMBER_FORM, limits.OLD_NUMBER_CHARS) if code else (NUMBER_FORM, limits.NUMBER_CHARS)
    if not form.fullmatch(number):
        words = f"must be {digits} digits" + (" beside a code" if code else "")
        found.append(Violation("number", "NUMBER_FORM" if number else "REQUIRED", words))
    return found


def faults(
    *, request_id: str, number: str, state: int, period: int, ledger_reference: str, code: str = ""
) -> list[Violation]:
    """Returns every broken rule of a wanted change; a withdrawal has no period to look at."""
    found = []
    if not REQUEST_ID_FORM.fullmatch(request_id):
        words = f"must be 1 to {limits.REQUEST_ID_CHARS_MAX} printable ASCII characters"
        found.append(Violation("request_id", "REQUEST_ID_FORM" if request_id else "REQUIRED", words))
    found += name_faults(number, code)
    if state != EntryState.WITHDRAWN:
        if state not in ENTERED:
            found.append(Violation("state", "ENTRY_STATE", "must be deductible (02) or not deductible (03)"))
        year, month = divmod(period, 100)
        if not (YEARS[0] <= year <= YEARS[1] and 1 <= month <= 12):
            words = f"must be YYYYMM from {YEARS[0]}01 to {YEARS[1]}12"
            found.append(Violation("period", "PERIOD_FORM" if period else "REQUIRED", words))
    if len(ledger_reference) > limits.LEDGER_REFERENCE_CHARS_MAX:
        words = f"must be at most {limits.LEDGER_REFERENCE_CHARS_MAX} characters, not {len(ledger_reference)}"
        found.append(Violation("ledger_reference", "TOO_LONG", words))
    elif ledger_reference and not ledger_reference.isprintable():
        found.append(Violation("ledger_reference", "NOT_PRINTABLE", "must be printable"))
    return found


def decide(present: Entry, change: Change, *, fully_red: bool, now_us: int) -> Entry | BillowError:
    """Returns the entry after the change, or why it is refused.

    A fully red invoice cannot be entered; one that was entered before it became red can be withdrawn.
    """
    number = present.number
    if change.state == EntryState.WITHDRAWN:
        if present.state not in ENTERED:
            words = f"invoice {number} does not stand in the books"
            return BillowError(Reason.NOT_ENTERED, words, metadata={"number": number})
        state, period = EntryState.WITHDRAWN, present.period
        return Entry(number, state, period, change.ledger_reference, present.version + 1, now_us, present.code)
    if present.state in ENTERED:
        words = f"invoice {number} stands in the books of period {present.period} already"
        metadata = {"number": number, "state": f"{int(present.state):02d}", "period": str(present.period)}
        return BillowError(Reason.ALREADY_ENTERED, words, metadata=metadata)
    if fully_red:
        words = f"red invoices have taken back all of invoice {number}"
        return BillowError(Reason.ALREADY_FULLY_RED, words, metadata={"number": number})
    if present.version >= limits.ENTRY_CHANGES_MAX:
        words = f"an invoice is entered and withdrawn at most {limits.ENTRY_CHANGES_MAX} times"
        many = Violation("number", "ENTRY_CHANGES_MAX", words)
        return BillowError(Reason.INVALID_REQUEST, "the request breaks a rule", violations=[many])
    state, period = change.state, change.period
    return Entry(number, state, period, change.ledger_reference, present.version + 1, now_us, present.code)


def answer_known(change: Change, request_sha256: bytes, known: Entry) -> Entry | BillowError:
    """Returns the answer to a change whose request id is known: the first one, or that it asked for something else."""
    if change.sha256() == request_sha256:
        return known
    words = f"request id {change.request_id!r} was used for another change"
    return BillowError(Reason.REQUEST_ID_REUSED, words, metadata={"request_id": change.request_id})


def invoice_not_found(number: str) -> BillowError:
    """The error for an invoice that is not there or not this buyer's: both look the same (P8)."""
    return BillowError(Reason.INVOICE_NOT_FOUND, f"there is no invoice {number}", metadata={"number": number})
