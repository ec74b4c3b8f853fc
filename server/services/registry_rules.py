"""What the registry accepts: pure checks that name every faulty field and the rule's code (P11)."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Final

from core import limits
from core.domain.errors import BillowError, Reason, Violation
from core.domain.kinds import InvoiceColor, InvoiceKind
from core.domain.parties import Party
from core.domain.profile import PROFILES
from core.domain.rules import Faults, check_party
from core.storage.registry_port import SCOPES

ID_FORM: Final = re.compile(rf"[a-z0-9][a-z0-9-]{{0,{limits.SELLER_ID_CHARS_MAX - 1}}}")
KEY_ID_FORM: Final = re.compile(r"[0-9a-f]{16}")
NUMBER_FORM: Final = re.compile(rf"[0-9]{{{limits.NUMBER_CHARS}}}")
NUMBER_HEAD_CHARS: Final = 5  # year, place, channel: DOMAIN.md; a range never leaves them

_ID_WORDS = f"must be 1 to {limits.SELLER_ID_CHARS_MAX} characters of a-z, 0-9 and -, starting with a letter or digit"


class RegistryRule(enum.StrEnum):
    """The stable codes of the rules; those of a party are in core/domain/rules.py."""

    REQUIRED = "REQUIRED"
    TOO_LONG = "TOO_LONG"
    ID_FORM = "ID_FORM"
    SCOPES_REQUIRED = "SCOPES_REQUIRED"
    SCOPE_UNKNOWN = "SCOPE_UNKNOWN"
    PROFILE_UNKNOWN = "PROFILE_UNKNOWN"
    KIND_REQUIRED = "KIND_REQUIRED"
    COLOR_UNKNOWN = "COLOR_UNKNOWN"
    NUMBER_FORM = "NUMBER_FORM"
    RANGE_ORDER = "RANGE_ORDER"
    RANGE_HEAD = "RANGE_HEAD"
    AMOUNT_RANGE = "AMOUNT_RANGE"


def refuse(violations: Sequence[Violation]) -> None:
    """Raises INVALID_REQUEST with the violations, if there are any."""
    if violations:
        words = f"the request breaks {len(violations)} rule{'s' if len(violations) > 1 else ''}"
        raise BillowError(Reason.INVALID_REQUEST, words, violations=violations)


def id_faults(value: str, field: str) -> list[Violation]:
    """Checks the id of a tenant or seller."""
    if ID_FORM.fullmatch(value):
        return []
    return [Violation(field, RegistryRule.ID_FORM if value else RegistryRule.REQUIRED, _ID_WORDS)]


def display_name_faults(value: str) -> list[Violation]:
    """Checks a note for people."""
    if len(value) <= limits.DISPLAY_NAME_CHARS_MAX:
        return []
    words = f"must be at most {limits.DISPLAY_NAME_CHARS_MAX} characters, not {len(value)}"
    return [Violation("display_name", RegistryRule.TOO_LONG, words)]


def scope_faults(scopes: Sequence[str]) -> list[Violation]:
    """Checks the scopes of a new key."""
    if not scopes:
        return [Violation("scopes", RegistryRule.SCOPES_REQUIRED, f"must hold at least one of {', '.join(SCOPES)}")]
    words = f"must be one of {', '.join(SCOPES)}"
    return [
        Violation(f"scopes[{position}]", RegistryRule.SCOPE_UNKNOWN, words)
        for position, scope in enumerate(scopes[: limits.VIOLATIONS_MAX])
        if scope not in SCOPES
    ]


def seller_faults(seller_id: str, party: Party, profile: str) -> list[Violation]:
    """Checks a new seller; an empty profile stands for the default."""
    faults = Faults(id_faults(seller_id, "seller_id"))
    check_party(party, "party", faults)
    if not party.tax_id:
        faults.append(Violation("party.tax_id", RegistryRule.REQUIRED, "is required of a seller"))
    if profile and profile not in PROFILES:
        words = f"must be one of {', '.join(sorted(PROFILES))}"
        faults.append(Violation("profile", RegistryRule.PROFILE_UNKNOWN, words))
    return faults


def range_faults(seller_id: str, kind: int, first_number: str, last_number: str, color: int = 0) -> list[Violation]:
    """Checks a new number range; a color of 0 stands for blue."""
    faults = id_faults(seller_id, "seller_id")
    if color not in (0, *InvoiceColor):
        words = "must be INVOICE_COLOR_BLUE or INVOICE_COLOR_RED"
        faults.append(Violation("color", RegistryRule.COLOR_UNKNOWN, words))
    if kind not in tuple(InvoiceKind):
        words = "must be INVOICE_KIND_SPECIAL or INVOICE_KIND_GENERAL"
        faults.append(Violation("kind", RegistryRule.KIND_REQUIRED, words))
    malformed = [
        Violation(field, RegistryRule.NUMBER_FORM, f"must be {limits.NUMBER_CHARS} digits")
        for field, value in (("first_number", first_number), ("last_number", last_number))
        if not NUMBER_FORM.fullmatch(value)
    ]
    if malformed:
        return faults + malformed
    if last_number < first_number:
        faults.append(Violation("last_number", RegistryRule.RANGE_ORDER, "must not be below first_number"))
    elif last_number[:NUMBER_HEAD_CHARS] != first_number[:NUMBER_HEAD_CHARS]:
        words = f"must have the same first {NUMBER_HEAD_CHARS} digits as first_number"
        faults.append(Violation("last_number", RegistryRule.RANGE_HEAD, words))
    return faults
