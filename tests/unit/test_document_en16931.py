"""UBL under the rules of CEN: the Schematron of EN 16931 as a stylesheet, run by Saxon (docs/adr/0017)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree
from saxonche import PySaxonProcessor

from core.documents.ubl import UblRenderer
from tests.unit.test_document_ubl import SAMPLES, sample

SVRL = "{http://purl.oclc.org/dsdl/svrl}"
Judge = Callable[[bytes], list[str]]


def rules() -> Path:
    """The stylesheet, in a package of which nothing is imported: `make setup` leaves out what that would need."""
    found = importlib.util.find_spec("mcp_einvoicing_core")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "resources/schematron/en16931_base/CEN-EN16931-UBL.xslt"


@pytest.fixture(scope="module")
def judge() -> Judge:
    """Says which rules a document breaks; compiling them takes 5 s."""
    processor = PySaxonProcessor(license=False)
    executable = processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(rules()))

    def broken(document: bytes) -> list[str]:
        node = processor.parse_xml(xml_text=document.decode())
        report = etree.fromstring(executable.transform_to_string(xdm_node=node).encode())
        assert len(list(report.iter(f"{SVRL}fired-rule"))) > 40  # it looked at this document
        return [str(failed.get("id")) for failed in report.iter(f"{SVRL}failed-assert")]

    return broken


def test_the_official_rules_have_nothing_against_it(judge: Judge) -> None:
    made = [made() for made in SAMPLES.values()] + [sample(serial) for serial in range(1, 21)]
    for invoice in made:
        assert judge(UblRenderer().render(invoice)) == []


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        (b"<cbc:DocumentCurrencyCode>CNY</cbc:DocumentCurrencyCode>", b"", "BR-05"),
        (b"<cbc:DocumentCurrencyCode>CNY<", b"<cbc:DocumentCurrencyCode>RMB<", "BR-CL-04"),
        (b'<cbc:PayableAmount currencyID="CNY">339.00', b'<cbc:PayableAmount currencyID="CNY">340.00', "BR-CO-16"),
    ],
)
def test_they_see_faults(judge: Judge, before: bytes, after: bytes, rule: str) -> None:
    document = UblRenderer().render(SAMPLES["blue"]())
    assert before in document
    assert rule in judge(document.replace(before, after))
