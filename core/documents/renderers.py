"""All renderers, made once a process."""

from __future__ import annotations

from pathlib import Path

from core.documents.ofd import OfdRenderer
from core.documents.pdf import PDFRenderer
from core.documents.renderer import Renderer
from core.documents.signing import load_signer
from core.documents.ubl import UblRenderer
from core.documents.xml_cn import CnXmlRenderer


def make_renderers(*, font: Path, signing: tuple[Path, Path] | None = None) -> dict[str, Renderer]:
    """Makes the renderers by the names of their formats.

    `font` is the TrueType file for faces, `signing` the files of key and certificate that sign XML. Raises OSError and
    ValueError when those are of no use.
    """
    xml = CnXmlRenderer(signer=load_signer(key=signing[0], certificate=signing[1]) if signing else None)
    made: tuple[Renderer, ...] = (
        PDFRenderer(font=font, attachment=xml),
        xml,
        OfdRenderer(attachment=xml),
        UblRenderer(),
    )
    return {renderer.format.name: renderer for renderer in made}
