"""What an audit found: findings and figures by check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

LISTED_MAX: Final = 50  # findings of one check told in full; more are counted


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that breaks a promise: what it is about, and what is wrong."""

    subject: str
    text: str


@dataclass(slots=True)
class Report:
    """What one check did."""

    name: str
    promise: str
    examined: int = 0
    findings: int = 0
    listed: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # worth knowing, but in order
    seconds: float = 0.0

    def add(self, subject: str, text: str) -> None:
        """Counts a finding, and lists it while there is room."""
        self.findings += 1
        if len(self.listed) < LISTED_MAX:
            self.listed.append(Finding(subject, text))

    def as_json(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "check": self.name,
            "promise": self.promise,
            "examined": self.examined,
            "findings": self.findings,
            "listed": [{"subject": item.subject, "text": item.text} for item in self.listed],
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }
