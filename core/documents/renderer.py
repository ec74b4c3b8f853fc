"""The port of all renderers: an issued invoice becomes the bytes of a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from core.domain.issued_invoice import IssuedInvoiceView


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFormat:
    """What kind of document a renderer makes.

    `name` is what callers ask for and is part of the object's key, as is `version`: raise it with every change that
    alters the bytes of any invoice, because what is stored under a key never changes.
    """

    name: str  # lower-case letters and digits: pdf, xml, ofd, ubl
    version: int
    media_type: str
    extension: str  # without the dot


class Renderer(Protocol):
    """Makes documents of one format. Blocks (milliseconds of CPU) and is called in a process of its own pool.

    An instance is made once a process, may keep fonts and templates, and is never called by two threads at once.
    """

    @property
    def format(self) -> DocumentFormat:
        """The format it makes."""
        ...

    def render(self, invoice: IssuedInvoiceView) -> bytes:
        """Returns the document, the same bytes for the same invoice in every process and at any time.

        Dates and ids inside come from the invoice, never from the clock or a random source. What becomes of the
        invoice later (red-lettered, booked) is not in it: a document shows what was issued (P4). Raises
        NotRenderable for an invoice that the format cannot express.
        """
        ...


class NotRenderable(Exception):
    """The format cannot express this invoice; the text says why, in words for the caller."""
