"""All renderers, made once a process."""

from __future__ import annotations

from pathlib import Path

from core.documents.ofd import OfdRenderer
from core.documents.pdf import PDFRenderer
from core.documents.renderer import Renderer
from core.documents.signing_keys import Keys
from core.documents.ubl import UblRenderer
from core.documents.xml_cn import CnXmlRenderer


def make_renderers(*, font: Path, keys: Keys | None = None) -> dict[str, Renderer]:
    """Makes the renderers by the names of their formats.

    `font` is the TrueType file for faces, `keys` sign XML (also inside PDF and OFD) and PDF.
    """
    xml = CnXmlRenderer(keys=keys)
    made: tuple[Renderer, ...] = (
        PDFRenderer(font=font, attachment=xml, keys=keys),
        xml,
        OfdRenderer(attachment=xml),
        UblRenderer(),
    )
    return {renderer.format.name: renderer for renderer in made}
