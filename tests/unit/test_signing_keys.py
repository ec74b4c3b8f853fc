"""The keys of settings: files with and without passphrase, sellers' own, a token; and whose signature it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.documents import hostile_xml
from core.documents.findings import SignatureState
from core.documents.load_keys import load_checker, load_keys
from core.documents.pdf_signatures import check_pdf_signature
from core.documents.renderers import make_renderers
from core.documents.seller_certificates import SellerCertificates
from core.documents.signatures import SignatureFinding
from core.documents.signing_keys import SellerKeys, load_key
from core.documents.xml_cn import CnXmlRenderer
from core.settings import DocumentSettings, SettingsError, SigningSettings
from tests.support.documents import FONT, issued_invoice
from tests.support.invoices import tax_id
from tests.support.signing_keys import certificate_of, curve_pair, key_pair, write_pair

KEY, CERTIFICATE = key_pair()
SELLER = issued_invoice().seller.tax_id


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path, "platform", KEY, CERTIFICATE)


@pytest.fixture
def settings(files: tuple[Path, Path], tmp_path: Path) -> SigningSettings:
    folder = tmp_path / "sellers"
    folder.mkdir()
    made = DocumentSettings(signing_key=str(files[0]), signing_certificate=str(files[1]), seller_keys=str(folder))
    return made.signing


def xml_of(settings: SigningSettings) -> bytes:
    return CnXmlRenderer(keys=load_keys(settings)).render(issued_invoice())


def finding(settings: SigningSettings, document: bytes) -> SignatureFinding:
    return load_checker(settings).examine(hostile_xml.parse(document))


def test_a_key_may_be_encrypted(tmp_path: Path) -> None:
    plain = write_pair(tmp_path, "plain", KEY, CERTIFICATE)
    locked = write_pair(tmp_path, "locked", KEY, CERTIFICATE, passphrase=b"a long secret")
    secret = tmp_path / "passphrase"
    secret.write_text("a long secret\n")
    key = load_key(key=locked[0], certificate=locked[1], passphrase=secret)
    assert key.sign(b"x") == load_key(key=plain[0], certificate=plain[1]).sign(b"x")
    for wrong, words in (("another", "cannot be read"), ("\n", "is empty")):
        secret.write_text(wrong)
        with pytest.raises(ValueError, match=words) as failed:
            load_key(key=locked[0], certificate=locked[1], passphrase=secret)
        assert "a long secret" not in str(failed.value)
    with pytest.raises(ValueError, match="cannot be read"):
        load_key(key=locked[0], certificate=locked[1])


def test_useless_keys_are_refused(tmp_path: Path) -> None:
    key, certificate = write_pair(tmp_path, "key", KEY, key_pair("somebody else")[1])
    with pytest.raises(ValueError, match="does not begin with the certificate"):
        load_key(key=key, certificate=certificate)
    for useless in (generate_private_key(65_537, 1_024), ec.generate_private_key(ec.SECP384R1())):
        paths = write_pair(tmp_path, "key", useless, certificate_of(useless, "useless"))
        with pytest.raises(ValueError, match="no RSA key of at least 2048 bits and no EC key on P-256"):
            load_key(key=paths[0], certificate=paths[1])
    secret = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(secret)
    certificate.write_bytes(CERTIFICATE.public_bytes(Encoding.PEM))
    with pytest.raises(ValueError, match="neither an RSA nor an EC key"):
        load_key(key=key, certificate=certificate)


def test_settings_name_what_is_wrong(files: tuple[Path, Path]) -> None:
    key, certificate = map(str, files)
    wrong = (
        ({"signing_key": key}, r"documents\.signing_key"),
        ({"signing_certificate": certificate}, r"documents\.signing_key"),
        ({"signing_passphrase": "x"}, r"documents\.signing_passphrase"),
        ({"signing_certificate": certificate, "token_module": "x"}, r"documents\.token must"),
        ({"token_pin": "x"}, r"documents\.token_pin"),
        (
            {
                "signing_key": key, "signing_certificate": certificate, "token_module": "x", "token": "x",
                "token_key": "x", "token_pin": "x",
            },
            r"documents\.token_module",
        ),
    )  # fmt: skip
    for fields, words in wrong:
        with pytest.raises(SettingsError, match=words):
            DocumentSettings(**fields)  # type: ignore[arg-type]  # all of these are texts
    files[1].write_bytes(curve_pair()[1].public_bytes(Encoding.PEM))
    with pytest.raises(SettingsError, match=r"documents\.signing_key is of no use"):
        load_keys(SigningSettings(key=key, certificate=certificate))
    assert load_keys(DocumentSettings().signing).of(SELLER) is None


def test_a_sellers_own_key_goes_before_the_platforms(settings: SigningSettings) -> None:
    keys = load_keys(settings)
    renderer = CnXmlRenderer(keys=keys)
    before = renderer.render(issued_invoice())
    assert finding(settings, before) == SignatureFinding(state=SignatureState.VALID, certificate=CERTIFICATE)
    own, certificate = curve_pair("a seller")
    write_pair(Path(settings.seller_keys), SELLER, own, certificate)
    after = renderer.render(issued_invoice())  # the same renderer: the key is found when it appears
    assert finding(settings, after) == SignatureFinding(
        state=SignatureState.VALID, certificate=certificate, seller_tax_id=SELLER
    )
    assert finding(settings, before).state is SignatureState.VALID  # what was rendered before
    other = issued_invoice()
    other.seller.tax_id = tax_id(8)
    assert finding(settings, renderer.render(other)).seller_tax_id == ""


def test_a_seller_signs_for_itself_alone(settings: SigningSettings) -> None:
    own, certificate = curve_pair("a seller")
    folder = Path(settings.seller_keys)
    write_pair(folder, SELLER, own, certificate)
    keys = load_keys(settings)
    xml, pdf = CnXmlRenderer(keys=keys).render(issued_invoice()), make_renderers(font=FONT, keys=keys)["pdf"]
    found = check_pdf_signature(pdf.render(issued_invoice()), load_checker(settings).trusted)
    assert (found.state, found.seller_tax_id) == (SignatureState.VALID, SELLER)
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.replace(SELLER, tax_id(8)))  # as if another seller had signed it
    assert finding(settings, xml).state is SignatureState.BROKEN
    found = check_pdf_signature(pdf.render(issued_invoice()), load_checker(settings).trusted)
    assert (found.state, found.seller_tax_id) == (SignatureState.VALID, "")


def test_a_sellers_useless_key_is_no_reason_to_use_the_platforms(settings: SigningSettings) -> None:
    folder = Path(settings.seller_keys)
    (folder / f"{SELLER}.pem").write_text("no key")
    with pytest.raises(ValueError, match=r"\.crt is missing"):
        xml_of(settings)
    (folder / f"{SELLER}.crt").write_bytes(CERTIFICATE.public_bytes(Encoding.PEM))
    with pytest.raises(ValueError, match="cannot be read"):
        xml_of(settings)
    (folder / f"{SELLER}.pem").unlink()  # a certificate alone is for verifying
    assert finding(settings, xml_of(settings)).seller_tax_id == ""


def test_few_keys_are_remembered_and_changes_seen(tmp_path: Path) -> None:
    sellers = SellerKeys(tmp_path, keys_max=2)
    for number in range(3):
        write_pair(tmp_path, tax_id(number), *curve_pair())
        assert sellers.of(tax_id(number)) is not None
    assert set(sellers._kept) == {tax_id(1), tax_id(2)}
    write_pair(tmp_path, tax_id(2), KEY, CERTIFICATE)
    found = sellers.of(tax_id(2))
    assert found is not None
    assert found.certificates == (CERTIFICATE,)
    (tmp_path / f"{tax_id(2)}.pem").unlink()
    assert sellers.of(tax_id(2)) is None
    for nobody in ("", "../../../etc/hostname", "A" * 14, f"{tax_id(1)}\n", "platform"):
        assert sellers.of(nobody) is None


def test_former_certificates_verify_old_documents(settings: SigningSettings, tmp_path: Path) -> None:
    old = xml_of(settings)
    fresh = write_pair(tmp_path, "fresh", *key_pair("fresh"))
    changed = SigningSettings(key=str(fresh[0]), certificate=str(fresh[1]))
    assert finding(changed, old).state is SignatureState.UNKNOWN
    kept = SigningSettings(
        key=changed.key, certificate=changed.certificate, former_certificates=(settings.certificate,)
    )
    assert finding(kept, old).state is SignatureState.VALID
    with pytest.raises(SettingsError, match=r"documents\.former_certificates"):
        load_checker(SigningSettings(former_certificates=(str(fresh[0]),)))


def test_certificates_of_sellers_are_read_again_when_the_folder_changed(tmp_path: Path) -> None:
    sellers = SellerCertificates(tmp_path, certificates_max=3)
    der = CERTIFICATE.public_bytes(Encoding.DER)
    assert sellers.owner(der) == ""
    (tmp_path / f"{SELLER}.2025.crt").write_bytes(CERTIFICATE.public_bytes(Encoding.PEM))  # of a key used before
    (tmp_path / f"{tax_id(7)}.crt").write_text("rubbish")
    (tmp_path / "notes.crt").write_bytes(curve_pair()[1].public_bytes(Encoding.PEM))
    os.utime(tmp_path, ns=(1, 1))
    assert sellers.owner(der) == SELLER
    assert sellers.owner(curve_pair()[1].public_bytes(Encoding.DER)) == ""
    assert SellerCertificates(tmp_path / "away").owner(der) == ""
