"""What an audit takes a kept document for when it is not what would be rendered now (P4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from admin.audit.renderings import Likeness, Renderings
from core.documents.renderers import make_renderers
from core.settings import DocumentSettings
from tests.support.documents import FONT, issued_invoice
from tests.support.signing_keys import curve_pair, ring, write_pair

FORMATS = ("pdf", "xml", "ofd")


@pytest.mark.parametrize("name", FORMATS)
def test_likeness(tmp_path: Path, name: str) -> None:
    now, before, stranger = (curve_pair(who) for who in ("now", "before", "stranger"))
    key, certificate = write_pair(tmp_path, "now", *now)
    _, former = write_pair(tmp_path, "before", *before)
    renderings = Renderings(
        DocumentSettings(
            font=str(FONT),
            signing_key=str(key),
            signing_certificate=str(certificate),
            former_certificates=(str(former),),
        )
    )
    invoice = issued_invoice(2)
    body = invoice.SerializeToString(deterministic=True)
    signed = {
        pair: make_renderers(font=FONT, keys=ring(*pair))[name].render(invoice) for pair in (now, before, stranger)
    }
    assert renderings.compare(name, body, signed[now]) is Likeness.SAME
    assert renderings.compare(name, body, signed[before]) is Likeness.OTHER_KEY
    assert renderings.compare(name, body, signed[stranger]) is Likeness.DIFFERENT
    assert renderings.compare(name, body, make_renderers(font=FONT)[name].render(invoice)) is Likeness.UNSIGNED
    invoice.remark = "another"
    other = make_renderers(font=FONT, keys=ring(*now))[name].render(invoice)
    assert renderings.compare(name, body, other) is Likeness.DIFFERENT
    assert renderings.compare(name, body, b"") is Likeness.DIFFERENT
