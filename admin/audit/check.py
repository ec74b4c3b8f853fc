"""What every check of the audit is, and what it may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from admin.audit.report import Report
from admin.audit.snapshot import Snapshot
from admin.audit.walk import Page
from core.settings import DocumentSettings
from core.storage.mysql.pool import Node, Primary
from core.storage.ports import InvoiceReader, IssueCache, ObjectStore, VerificationCache


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything an audit reads. `sample`: how many invoices to recompute, None for all of them.

    `documents`: how many kept documents to render again, as `rendering` says.
    """

    snapshot: Snapshot
    primary: Primary
    replicas: Sequence[Node]
    reader: InvoiceReader
    objects: ObjectStore
    answers: IssueCache
    entries: VerificationCache
    sample: int | None
    documents: int
    rendering: DocumentSettings


class Check:
    """One check: told of the start, every page of the walk and the end, it fills its report. Never raises findings."""

    name = ""
    promise = ""

    def __init__(self) -> None:
        self.report = Report(self.name, self.promise)

    async def start(self, sources: Sources) -> None:
        """Before the walk."""

    def page(self, page: Page) -> None:
        """Looks at one page of the walk; no I/O."""

    async def finish(self, sources: Sources) -> None:
        """After the walk."""
