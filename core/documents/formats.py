"""The formats there are. Raise the version of one whenever its renderer writes other bytes for any invoice."""

from __future__ import annotations

from typing import Final

from core.documents.renderer import DocumentFormat

PDF: Final = DocumentFormat(name="pdf", version=1, media_type="application/pdf", extension="pdf")
