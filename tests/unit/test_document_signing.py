"""Signatures of XML documents: made, checked here and by xmlsec1, and not fooled by what was changed or moved."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.documents import hostile_xml
from core.documents.read_xml import read_cn_xml
from core.documents.signatures import SignatureChecker, SignatureState
from core.documents.signing import FileSigner, load_signer
from core.documents.xml_cn import SIGNATURE_PLACE, CnXmlRenderer, cn_xml
from core.settings import DocumentSettings, SettingsError
from stack import document_key
from stack.options import RunFolder
from tests.support.issued_invoices import issued_invoice, mixed_invoice, values
from tests.support.signing_keys import key_pair

KEY, CERTIFICATE = key_pair()
RENDERER = CnXmlRenderer(signer=FileSigner(key=KEY, certificates=(CERTIFICATE,)))
CHECKER = SignatureChecker([CERTIFICATE])


def state(document: bytes) -> SignatureState:
    return CHECKER.check(hostile_xml.parse(document))


@pytest.fixture
def key_files(tmp_path: Path) -> tuple[Path, Path]:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(CERTIFICATE.public_bytes(Encoding.PEM))
    return key, certificate


def test_a_signed_document_is_valid_and_read_back() -> None:
    for invoice in (issued_invoice(), issued_invoice(red=True), mixed_invoice()):
        document = RENDERER.render(invoice)
        assert document == RENDERER.render(invoice)
        assert state(document) is SignatureState.VALID
        assert values(read_cn_xml(document)) == values(invoice)


def test_an_outside_tool_verifies_it(key_files: tuple[Path, Path], tmp_path: Path) -> None:
    document = RENDERER.render(mixed_invoice())
    for content, code in ((document, 0), (document.replace(b"-11.30", b"-11.31"), 1)):
        path = tmp_path / "invoice.xml"
        path.write_bytes(content)
        command = ["xmlsec1", "--verify", "--trusted-pem", str(key_files[1]), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode == code, done.stderr


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
    stranger = FileSigner(key=key, certificates=(certificate,))
    assert state(stranger.sign(cn_xml(issued_invoice()), place=SIGNATURE_PLACE)) is SignatureState.UNKNOWN
    pretender = FileSigner(key=key, certificates=(CERTIFICATE,))  # names a certificate it does not have the key of
    forged = pretender.sign(cn_xml(issued_invoice()), place=SIGNATURE_PLACE)
    assert state(forged) is SignatureState.BROKEN
    assert state(cn_xml(issued_invoice())) is SignatureState.UNSIGNED


def test_keys_come_from_files(key_files: tuple[Path, Path]) -> None:
    signer = load_signer(key=key_files[0], certificate=key_files[1])
    assert CnXmlRenderer(signer=signer).render(issued_invoice()) == RENDERER.render(issued_invoice())


def test_useless_keys_are_refused(key_files: tuple[Path, Path]) -> None:
    key, certificate = key_files
    certificate.write_bytes(key_pair("somebody else")[1].public_bytes(Encoding.PEM))
    with pytest.raises(ValueError, match="does not begin with the certificate"):
        load_signer(key=key, certificate=certificate)
    curve = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ValueError, match="no RSA key"):
        load_signer(key=key, certificate=certificate)


def test_a_document_is_signed_once() -> None:
    signer = FileSigner(key=KEY, certificates=(CERTIFICATE,))
    with pytest.raises(ValueError, match="no empty"):
        signer.sign(RENDERER.render(issued_invoice()), place=SIGNATURE_PLACE)


def test_the_stack_makes_a_key_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    document_key.ensure(folder)
    key, certificate = document_key.key_path(folder), document_key.certificate_path(folder)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first = key.read_bytes()
    document_key.ensure(folder)
    assert key.read_bytes() == first
    document = CnXmlRenderer(signer=load_signer(key=key, certificate=certificate)).render(issued_invoice())
    trusted = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert SignatureChecker([trusted]).check(hostile_xml.parse(document)) is SignatureState.VALID


def test_a_key_without_certificate_is_no_setting() -> None:
    with pytest.raises(SettingsError, match=r"documents\.signing_key"):
        DocumentSettings(signing_key="/keys/key.pem")
    assert DocumentSettings().signing is None
