"""The formats there are. Raise the version of one whenever its renderer writes other bytes for any invoice."""

from __future__ import annotations

from typing import Final

from core.documents.renderer import DocumentFormat

PDF: Final = DocumentFormat(name="pdf", version=2, media_type="application/pdf", extension="pdf")
XML: Final = DocumentFormat(name="xml", version=2, media_type="application/xml", extension="xml")
OFD: Final = DocumentFormat(name="ofd", version=2, media_type="application/ofd", extension="ofd")
UBL: Final = DocumentFormat(name="ubl", version=1, media_type="application/xml", extension="ubl.xml")

FORMATS: Final = {made.name: made for made in (PDF, XML, OFD, UBL)}
