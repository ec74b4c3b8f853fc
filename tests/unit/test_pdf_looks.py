"""What a page shows when it is drawn: the QR code is read from the pixels by another program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from core.documents.face import face_of
from core.documents.pdf import PDFRenderer
from tests.support.documents import FONT, issued_invoice


@pytest.fixture(scope="module")
def renderer() -> PDFRenderer:
    return PDFRenderer(font=FONT)


def drawn(document: bytes, folder: Path, page: int) -> Path:
    """A page as poppler draws it, 150 dots an inch: 4 a module."""
    path = folder / "invoice.pdf"
    path.write_bytes(document)
    select = ["-f", str(page), "-l", str(page), "-singlefile"]
    subprocess.run(["pdftoppm", "-r", "150", "-png", *select, str(path), str(folder / "page")], check=True, timeout=30)
    return folder / "page.png"


@pytest.mark.parametrize(("lines", "red", "page"), [(1, False, 1), (2, True, 1), (300, False, 8)])
def test_the_qr_code_is_read_from_every_page(
    renderer: PDFRenderer, lines: int, red: bool, page: int, tmp_path: Path
) -> None:
    invoice = issued_invoice(lines, red=red)
    picture = drawn(renderer.render(invoice), tmp_path, page)
    command = ["zbarimg", "--quiet", "--raw", "--nodbus", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines() == [face_of(invoice).qr], done.stderr
