"""Files on the inspection page in Chromium, through Envoy: dropped or chosen, genuine, altered, hostile (P4, P7)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload

from core import limits
from stack import Stack
from tests.support.browser import Visit, chromium, visiting
from tests.support.page_invoices import Held, document, hold, prepared, red_letter
from tests.support.platform import Tenant

BUYER = "示例买方有限公司"
OTHER_BUYER = "另一家示例公司"
BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><EInvoice>&c;</EInvoice>'
DROP = """
([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const moved = new DataTransfer();
  moved.items.add(new File([bytes], name));
  const zone = document.getElementById('drop');
  for (const type of ['dragenter', 'dragover', 'drop']) {
    zone.dispatchEvent(new DragEvent(type, { dataTransfer: moved, bubbles: true, cancelable: true }));
  }
}
"""


@dataclass(frozen=True)
class Documents:
    held: Held
    by_format: dict[str, bytes]
    void: bytes


@pytest.fixture(scope="module")
def documents(running_stack: Stack) -> Documents:
    async def prepare(tenant: Tenant) -> Documents:
        held, void = await hold(tenant, "file-1"), await hold(tenant, "file-2")
        by_format = {name: await document(tenant, held, name) for name in ("xml", "pdf", "ofd")}
        content = await document(tenant, void, "xml")
        await red_letter(tenant, void)
        return Documents(held, by_format, content)

    return prepared(running_stack, prepare)


@pytest.fixture(scope="module")
def browser(documents: Documents) -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser, running_stack: Stack) -> Iterator[Visit]:
    with visiting(browser, running_stack) as opened:
        yield opened


def choose(visit: Visit, name: str, content: bytes) -> str:
    payload: FilePayload = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    visit.page.get_by_label("Choose a file").set_input_files(payload)
    return visit.verdict()


def drop(visit: Visit, name: str, content: bytes) -> str:
    visit.page.evaluate(DROP, [name, base64.b64encode(content).decode()])
    return visit.verdict()


@pytest.mark.parametrize(("format_name", "way"), [("xml", choose), ("pdf", drop), ("ofd", drop)])
def test_a_genuine_file(visit: Visit, documents: Documents, format_name: str, way: object) -> None:
    assert callable(way)
    assert way(visit, f"发票.{format_name}", documents.by_format[format_name]) == "Genuine"
    facts, held = visit.facts(), documents.held
    assert (visit.tone(), facts["State"], facts["File"]) == ("good", "Normal", f"发票.{format_name}")
    assert (facts["Invoice number"], facts["Issue date"]) == (held.spaced, held.date)
    assert facts["Total with tax"] == f"¥\u00a0{held.total}"
    assert facts["Buyer"].splitlines()[0] == BUYER
    assert visit.page.locator("dd", has_text=BUYER).get_attribute("lang") == "zh-CN"
    assert visit.faults() == []


def test_an_altered_file_and_where(visit: Visit, documents: Documents) -> None:
    xml = documents.by_format["xml"].decode()
    altered = xml.replace(BUYER, OTHER_BUYER)
    assert altered != xml
    assert drop(visit, "altered.xml", altered.encode()) == "Altered"
    assert visit.tone() == "bad"
    assert "State" not in visit.facts()
    rows = [row.inner_text().split("\t") for row in visit.page.locator("#details tbody tr").all()]
    assert ["Buyer · Name", OTHER_BUYER] in [[cell.strip() for cell in row] for row in rows]
    assert BUYER not in visit.page.inner_text("#answer")  # what was issued is the issuer's to tell
    assert visit.faults() == []


def test_a_file_of_a_void_invoice(visit: Visit, documents: Documents) -> None:
    """P7."""
    assert choose(visit, "void.xml", documents.void) == "Genuine, but void"
    assert visit.facts()["Remaining"] == "¥\u00a00.00"


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        (b"good morning", "Not recognized", "This is no XML, OFD or PDF file."),
        (b"<EInvoice", "Cannot be read", "It is damaged or cut off. Ask for it again."),
        (b"<html/>", "Cannot be read", "What is in it is no invoice."),
        (BOMB, "Cannot be read", "It holds what no honest invoice holds. Do not open it."),
        (b"", "The file is empty", "Choose another one."),
    ],
    ids=["text", "cut off", "other", "bomb", "empty"],
)
def test_files_that_are_no_invoices(visit: Visit, content: bytes, title: str, text: str) -> None:
    assert choose(visit, "file", content) == title
    assert visit.page.inner_text("#verdict .text") == text


def test_the_largest_file_and_one_byte_more(visit: Visit, tmp_path: Path) -> None:
    largest, larger = tmp_path / "largest", tmp_path / "larger"
    largest.write_bytes(bytes(limits.INSPECT_BYTES_MAX))
    larger.write_bytes(bytes(limits.INSPECT_BYTES_MAX + 1))
    field = visit.page.get_by_label("Choose a file")
    field.set_input_files(largest)
    assert visit.verdict() == "Not recognized"
    asked = len(visit.requested)
    field.set_input_files(larger)
    assert visit.verdict(but="Not recognized") == "The file is too large"
    assert len(visit.requested) == asked
