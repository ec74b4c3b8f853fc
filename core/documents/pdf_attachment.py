"""A file inside a PDF, as an associated file of the document (ISO 32000-2, 7.11.4 and 14.13)."""

from __future__ import annotations

import hashlib
from typing import Any

from reportlab.pdfbase import pdfdoc
from reportlab.pdfgen.canvas import Canvas


class _Root(pdfdoc.PDFCatalog):  # type: ignore[misc]  # reportlab has no types
    """The document's root, which may also name associated files."""

    __NoDefault__ = (*pdfdoc.PDFCatalog.__NoDefault__, "AF")
    __Refs__ = __NoDefault__


def attach(canvas: Canvas, name: str, media_type: str, data: bytes, stamp: str) -> None:
    """Embeds `data` under a file name of ASCII characters; `stamp` is its PDF date. Once a document."""
    document = canvas._doc  # noqa: SLF001 (reportlab has no public way to the catalog)
    parameters = pdfdoc.PDFDictionary(
        {
            "Size": len(data),
            "ModDate": pdfdoc.PDFString(stamp),
            "CheckSum": f"<{hashlib.md5(data, usedforsecurity=False).hexdigest()}>",  # what the standard asks for
        }
    )
    stream = pdfdoc.PDFStream(
        dictionary=pdfdoc.PDFDictionary(
            {
                "Type": pdfdoc.PDFName("EmbeddedFile"),
                "Subtype": pdfdoc.PDFName(media_type.replace("/", "#2F")),
                "Params": parameters,
            }
        ),
        content=data,
        filters=[pdfdoc.PDFZCompress],
    )
    file = pdfdoc.PDFDictionary(
        {
            "Type": pdfdoc.PDFName("Filespec"),
            "F": pdfdoc.PDFString(name),
            "UF": pdfdoc.PDFString(name),
            "AFRelationship": pdfdoc.PDFName("Source"),
            "EF": pdfdoc.PDFDictionary({"F": document.Reference(stream)}),
        }
    )
    reference = document.Reference(file)
    root = extended_root(document)
    root.Names = pdfdoc.PDFDictionary(
        {"EmbeddedFiles": pdfdoc.PDFDictionary({"Names": pdfdoc.PDFArray([pdfdoc.PDFString(name), reference])})}
    )
    root.AF = pdfdoc.PDFArray([reference])


def extended_root(document: Any) -> Any:
    """The root of a reportlab document, which may name associated files from now on."""
    if not isinstance(document.Catalog, _Root):
        root = _Root()
        root.__dict__.update(document.Catalog.__dict__)
        document.Catalog = root
    return document.Catalog
