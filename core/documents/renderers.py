"""All renderers, made once a process."""

from __future__ import annotations

from pathlib import Path

from core.documents.ofd import OfdRenderer
from core.documents.pdf import PDFRenderer
from core.documents.renderer import Renderer
from core.documents.xml_cn import CnXmlRenderer


def make_renderers(*, font: Path) -> dict[str, Renderer]:
    """Makes the renderers by the names of their formats; `font` is the TrueType file for faces."""
    xml = CnXmlRenderer()
    made: tuple[Renderer, ...] = (PDFRenderer(font=font, attachment=xml), xml, OfdRenderer())
    return {renderer.format.name: renderer for renderer in made}
