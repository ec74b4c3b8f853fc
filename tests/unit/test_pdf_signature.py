"""Signatures of PDF: the same bytes always, verified by poppler and by pyHanko, and not fooled by what was changed."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdf
import pytest
from asn1crypto.cms import ContentInfo
from asn1crypto.x509 import Certificate as Asn1Certificate
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

from core import limits
from core.documents import cms
from core.documents.findings import SignatureState
from core.documents.pdf_signatures import check_pdf_signature
from core.documents.renderers import make_renderers
from core.documents.signatures import TrustedCertificates
from core.documents.signing_keys import PlainKey
from tests.support.documents import FONT, NUMBER, issued_invoice
from tests.support.signing_keys import curve_pair, key_pair, ring

KEY, CERTIFICATE = key_pair()
TRUSTED = TrustedCertificates([CERTIFICATE])
RENDERER = make_renderers(font=FONT, keys=ring(KEY, CERTIFICATE))["pdf"]
PLAIN = make_renderers(font=FONT)["pdf"]
DOCUMENT = RENDERER.render(issued_invoice(3))


def state(document: bytes) -> SignatureState:
    return check_pdf_signature(document, TRUSTED).state


def pdfsig(document: bytes, folder: Path) -> str:
    path = folder / "invoice.pdf"
    path.write_bytes(document)
    environment = {**os.environ, "HOME": str(folder)}  # it looks there for certificates
    command = ["pdfsig", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment).stdout


def pyhanko_says(document: bytes) -> PdfSignatureStatus:
    root = Asn1Certificate.load(CERTIFICATE.public_bytes(Encoding.DER))
    embedded = PdfFileReader(io.BytesIO(document)).embedded_signatures[0]
    return validate_pdf_signature(embedded, ValidationContext(trust_roots=[root]))


@pytest.mark.parametrize(("pair", "lines"), [(key_pair, 1), (key_pair, 40), (curve_pair, 3)])
def test_poppler_verifies_it(pair: Callable[[], Any], lines: int, tmp_path: Path) -> None:
    renderer = make_renderers(font=FONT, keys=ring(*pair()))["pdf"]
    document = renderer.render(issued_invoice(lines))
    assert document == renderer.render(issued_invoice(lines))
    said = pdfsig(document, tmp_path)
    for words in ("Signature is Valid.", "Total document signed", "ETSI.CAdES.detached", "SHA-256", "Nov 18 2026"):
        assert words in said
    assert "is Valid" not in pdfsig(document.replace(b"/Creator", b"/Creater"), tmp_path)


def test_pyhanko_verifies_it_and_finds_pades() -> None:
    status = pyhanko_says(DOCUMENT)
    assert (status.intact, status.valid, status.trusted) == (True, True, True)
    assert status.coverage is SignatureCoverageLevel.ENTIRE_FILE
    assert not pyhanko_says(DOCUMENT.replace(b"/Creator", b"/Creater")).intact
    (information,) = ContentInfo.load(signature_of(DOCUMENT))["content"]["signer_infos"]
    attributes = {attribute["type"].native for attribute in information["signed_attrs"]}
    assert attributes == {"content_type", "message_digest", "signing_certificate_v2"}
    assert information["unsigned_attrs"].native is None


def test_what_was_there_stays_there() -> None:
    signed, plain = (
        pypdf.PdfReader(io.BytesIO(made), strict=True) for made in (DOCUMENT, PLAIN.render(issued_invoice(3)))
    )
    assert [page.extract_text() for page in signed.pages] == [page.extract_text() for page in plain.pages]
    assert list(signed.attachments) == [f"{NUMBER}.xml"]
    assert b"SigningCertificateV2" in signed.attachments[f"{NUMBER}.xml"][0]
    fields = signed.get_fields()
    assert fields is not None
    assert fields["Billow"]["/V"]["/M"] == "D:20261118190640+08'00'"


def test_ours_is_valid_and_others_say_nothing() -> None:
    found = check_pdf_signature(DOCUMENT, TRUSTED)
    assert (found.state, found.certificate, found.seller_tax_id) == (SignatureState.VALID, CERTIFICATE, "")
    assert state(PLAIN.render(issued_invoice(3))) is SignatureState.UNSIGNED
    assert check_pdf_signature(DOCUMENT, TrustedCertificates([])).state is SignatureState.UNKNOWN
    curve, certificate = curve_pair()
    other = make_renderers(font=FONT, keys=ring(curve, certificate))["pdf"].render(issued_invoice())
    assert state(other) is SignatureState.UNKNOWN
    assert check_pdf_signature(other, TrustedCertificates([certificate])).state is SignatureState.VALID
    pretender = make_renderers(font=FONT, keys=ring(key_pair("somebody else")[0], CERTIFICATE))["pdf"]
    assert state(pretender.render(issued_invoice())) is SignatureState.BROKEN


def test_what_was_changed_or_added_is_broken() -> None:
    assert state(DOCUMENT.replace(b"/Creator", b"/Creater")) is SignatureState.BROKEN
    assert state(DOCUMENT + b"\n1 0 obj\n<<>>\nendobj\n%%EOF\n") is SignatureState.BROKEN
    assert state(DOCUMENT + b"%/ByteRange [0 1 2 3]") is SignatureState.BROKEN
    found = re.search(rb"/Contents <([0-9a-f]+)>", DOCUMENT)
    assert found is not None
    digits = found[1]
    for spot in (900, len(digits) - 1):  # the key is new each run, so the digit that stands there is, too
        other = b"1" if digits[spot : spot + 1] == b"0" else b"0"
        changed = digits[:spot] + other + digits[spot + 1 :]
        assert state(DOCUMENT.replace(digits, changed)) is not SignatureState.VALID
    assert state(DOCUMENT.replace(digits, digits.upper())) is SignatureState.VALID
    both = DOCUMENT + DOCUMENT
    assert state(both) is SignatureState.BROKEN


@pytest.mark.parametrize("spot", range(20))
def test_no_byte_may_differ(spot: int) -> None:
    at = len(DOCUMENT) * spot // 20
    document = bytearray(DOCUMENT)
    document[at] ^= 1
    assert state(bytes(document)) is not SignatureState.VALID


def test_a_signature_cannot_be_lent_to_another_document() -> None:
    other = RENDERER.render(issued_invoice(2))
    assert state(other.replace(signature_digits(other), signature_digits(DOCUMENT))) is SignatureState.BROKEN


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.tuples(*[st.integers(0, 3_000)] * 3), st.binary(max_size=400))
def test_whatever_the_bytes_there_is_an_answer(before: bytes, numbers: tuple[int, int, int], inside: bytes) -> None:
    hostile = before + b"/ByteRange [0 %d %d %d]" % numbers + b"<" + inside.hex().encode() + b">" + before
    assert state(hostile) is SignatureState.UNKNOWN


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_the_signature_there_is_an_answer(data: st.DataObject) -> None:
    signature = bytearray(signature_of(DOCUMENT))
    for _ in range(data.draw(st.integers(1, 4))):
        signature[data.draw(st.integers(0, len(signature) - 1))] = data.draw(st.integers(0, 255))
    certificate = cms.named(bytes(signature))
    if bytes(signature) != signature_of(DOCUMENT):
        digest = digest_of(DOCUMENT)
        assert not cms.verify(bytes(signature), digest=digest, certificate=CERTIFICATE)
    assert certificate is None or isinstance(certificate, bytes)


def test_giants_are_passed_over() -> None:
    many = b"/ByteRange [0 9 99 1]" * 200_000
    assert state(many) is SignatureState.UNKNOWN
    room = 2 * limits.SIGNATURE_BYTES_MAX + 4
    head = b"/ByteRange [0 %10d %10d %10d]" % (42, 42 + room, 0)
    assert state(head + b"<" + b"3082ffff" + b"0" * (room - 10) + b">") is SignatureState.UNKNOWN
    assert state(b"/ByteRange" + b" " * 1_000_000) is SignatureState.UNKNOWN


def test_the_signature_itself_is_deterministic() -> None:
    for pair in (key_pair(), curve_pair()):
        key = PlainKey(pair[0], (pair[1],))
        made = cms.sign(key=key, digest=bytes(32))
        assert made == cms.sign(key=key, digest=bytes(32))
        assert len(made) <= cms.room(key)
        assert cms.verify(made, digest=bytes(32), certificate=pair[1])
        assert not cms.verify(made, digest=bytes(31) + b"1", certificate=pair[1])


def signature_digits(document: bytes) -> bytes:
    found = re.search(rb"/Contents <([0-9a-f]+)>", document)
    assert found is not None
    return found[1]


def signature_of(document: bytes) -> bytes:
    signature = bytes.fromhex(signature_digits(document).decode())
    return signature[: 4 + int.from_bytes(signature[2:4], "big")]


def digest_of(document: bytes) -> bytes:
    digits = signature_digits(document)
    start = document.index(digits) - 1
    return hashlib.sha256(document[:start] + document[start + len(digits) + 2 :]).digest()
