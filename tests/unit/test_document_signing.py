"""Signatures of XML documents: made, checked here and by xmlsec1, and not fooled by what was changed or moved."""

from __future__ import annotations

import base64
import datetime as dt
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from lxml import etree
from signxml.algorithms import CanonicalizationMethod
from signxml.signer import XMLSigner

from core.documents import hostile_xml
from core.documents.findings import SignatureState
from core.documents.read_xml import read_cn_xml
from core.documents.signatures import SignatureChecker
from core.documents.signing import PLACEHOLDER, sign_xml
from core.documents.signing_keys import KeyRing, PlainKey, load_key
from core.documents.xml_cn import SIGNATURE_PLACE, CnXmlRenderer, cn_xml
from stack import document_key
from stack.options import RunFolder
from tests.support.issued_invoices import issued_invoice, mixed_invoice, values
from tests.support.signing_keys import curve_pair, key_pair, ring, write_pair

KEY, CERTIFICATE = key_pair()
RENDERER = CnXmlRenderer(keys=ring(KEY, CERTIFICATE))
CHECKER = SignatureChecker([CERTIFICATE])


def state(document: bytes) -> SignatureState:
    return CHECKER.check(hostile_xml.parse(document))


def signed_by(key: PlainKey) -> bytes:
    return sign_xml(cn_xml(issued_invoice()), key=key, place=SIGNATURE_PLACE, signed_at_s=1)


def test_a_signed_document_is_valid_and_read_back() -> None:
    for invoice in (issued_invoice(), issued_invoice(red=True), mixed_invoice()):
        document = RENDERER.render(invoice)
        assert document == RENDERER.render(invoice)
        assert state(document) is SignatureState.VALID
        assert values(read_cn_xml(document)) == values(invoice)


@pytest.mark.parametrize("pair", [key_pair, curve_pair])
def test_an_outside_tool_verifies_it(pair: Callable[[], Any], tmp_path: Path) -> None:
    trusted = write_pair(tmp_path, "signer", *pair())[1]
    document = CnXmlRenderer(keys=ring(*pair())).render(mixed_invoice())
    time = document[document.index(b"<xades:SigningTime>") :][:39]
    changes = ((b"", b"", 0), (b"-11.30", b"-11.31", 1), (time, time.replace(b":", b";"), 1))
    for before, after, code in changes:
        path = tmp_path / "invoice.xml"
        path.write_bytes(document.replace(before, after) if before else document)
        done = xmlsec1(path, trusted)
        assert done.returncode == code, done.stderr
        assert code or "3/3" in done.stderr


def xmlsec1(document: Path, trusted: Path) -> subprocess.CompletedProcess[str]:
    command = ["xmlsec1", "--verify", "--trusted-pem", str(trusted), str(document)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def test_the_signature_is_xades_and_names_the_time_of_issue() -> None:
    root = hostile_xml.parse(RENDERER.render(mixed_invoice()))
    xades = {"x": "http://uri.etsi.org/01903/v1.3.2#"}
    seconds = mixed_invoice().issue_time.seconds
    time = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert root.findtext(".//x:SigningTime", namespaces=xades) == time
    digest = base64.b64encode(CERTIFICATE.fingerprint(SHA256())).decode()
    own = root.find(".//x:SigningCertificateV2/x:Cert/x:CertDigest", namespaces=xades)
    assert own is not None
    assert "".join(map(str, own.itertext())) == digest


def test_curves_sign_the_same_bytes_and_are_valid() -> None:
    key, certificate = curve_pair()
    renderer = CnXmlRenderer(keys=ring(key, certificate))
    document = renderer.render(mixed_invoice())
    assert document == renderer.render(mixed_invoice())
    assert SignatureChecker([certificate]).check(hostile_xml.parse(document)) is SignatureState.VALID
    assert state(document) is SignatureState.UNKNOWN


def test_documents_of_the_first_version_stay_valid() -> None:
    """They were signed by plain XML-DSig, and are kept."""
    place = f"<{SIGNATURE_PLACE}>".encode()
    root = etree.fromstring(cn_xml(issued_invoice()).replace(place, place + PLACEHOLDER))
    signer = XMLSigner(c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_0)
    document = bytes(etree.tostring(signer.sign(root, key=KEY, cert=[CERTIFICATE]), method="c14n"))
    assert state(document) is SignatureState.VALID
    assert state(document.replace(b"<Drawer>", b"<Drawer>x", 1)) is SignatureState.BROKEN


def test_what_was_changed_is_broken() -> None:
    document = RENDERER.render(issued_invoice())
    assert state(document.replace(b"<Drawer>", b"<Drawer>x", 1)) is SignatureState.BROKEN
    assert state(document.replace(b"</EInvoice>", b"<More></More></EInvoice>")) is SignatureState.BROKEN
    assert state(document.replace(b'URI=""', b'URI="#a"')) is SignatureState.BROKEN
    assert state(document.replace(b"rsa-sha256", b"rsa-sha1")) is SignatureState.BROKEN


def test_a_signature_that_was_moved_is_broken() -> None:
    document = RENDERER.render(issued_invoice())
    start, end = document.index(b"<ds:Signature "), document.index(b"</ds:Signature>") + len(b"</ds:Signature>")
    signature = document[start:end]
    moved = (document[:start] + document[end:]).replace(b"<Header>", b"<Header>" + signature, 1)
    assert state(moved) is SignatureState.BROKEN
    assert state(document.replace(signature, signature * 2)) is SignatureState.BROKEN
    wrapped = b"<EInvoice><Was>" + document + b"</Was></EInvoice>"
    assert state(wrapped) is SignatureState.BROKEN


def test_other_peoples_signatures_say_nothing() -> None:
    key, certificate = key_pair("somebody else")
    assert state(signed_by(PlainKey(key, (certificate,)))) is SignatureState.UNKNOWN
    pretender = PlainKey(key, (CERTIFICATE,))  # names a certificate it does not have the key of
    assert state(signed_by(pretender)) is SignatureState.BROKEN
    assert state(cn_xml(issued_invoice())) is SignatureState.UNSIGNED


def test_a_document_is_signed_once() -> None:
    signed, key = RENDERER.render(issued_invoice()), PlainKey(KEY, (CERTIFICATE,))
    with pytest.raises(ValueError, match="no empty"):
        sign_xml(signed, key=key, place=SIGNATURE_PLACE, signed_at_s=1)


def test_the_stack_makes_a_key_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    document_key.ensure(folder)
    key, certificate = document_key.key_path(folder), document_key.certificate_path(folder)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first = key.read_bytes()
    document_key.ensure(folder)
    assert key.read_bytes() == first
    document = CnXmlRenderer(keys=KeyRing(platform=load_key(key=key, certificate=certificate))).render(issued_invoice())
    trusted = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert SignatureChecker([trusted]).check(hostile_xml.parse(document)) is SignatureState.VALID
    path = tmp_path / "invoice.xml"
    path.write_bytes(document)
    done = xmlsec1(path, document_key.authority_path(folder))  # it knows the authority alone
    assert done.returncode == 0, done.stderr
    usage = trusted.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.content_commitment, usage.key_cert_sign) == (True, True, False)
