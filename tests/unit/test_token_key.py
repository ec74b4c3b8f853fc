"""A key behind PKCS#11, with SoftHSM as the token: it signs as a file would, and cannot be taken out."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from core.documents import hostile_xml
from core.documents.findings import SignatureState
from core.documents.load_keys import load_checker, load_keys
from core.documents.renderers import make_renderers
from core.documents.token_key import TokenKey, load_token_key
from core.settings import DocumentSettings, SettingsError, SigningSettings
from tests.support.documents import FONT, issued_invoice
from tests.support.signing_keys import curve_pair, key_pair, ring, write_pair

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
KEY, CERTIFICATE = key_pair()


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SigningSettings:
    """A token that holds the key of the tests' certificate."""
    folder = tmp_path_factory.mktemp("token")
    patch = pytest.MonkeyPatch()
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    patch.setenv("SOFTHSM2_CONF", str(config))  # read when the module is loaded, once a process
    key, certificate = write_pair(folder, "platform", KEY, CERTIFICATE)
    softhsm("--init-token", "--free", "--label", "billow", "--so-pin", "87654321", "--pin", "123456")
    softhsm("--import", str(key), "--token", "billow", "--label", "documents", "--id", "01", "--pin", "123456")
    softhsm("--init-token", "--free", "--label", "spare", "--so-pin", "87654321", "--pin", "123456")
    key.unlink()
    pin = folder / "pin"
    pin.write_text("123456\n")
    return DocumentSettings(
        signing_certificate=str(certificate), token_module=MODULE, token="billow", token_key="documents",
        token_pin=str(pin),
    ).signing  # fmt: skip


def softhsm(*arguments: str) -> None:
    done = subprocess.run(["softhsm2-util", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_documents_are_what_a_key_in_a_file_makes(token: SigningSettings) -> None:
    behind, plain = (make_renderers(font=FONT, keys=keys) for keys in (load_keys(token), ring(KEY, CERTIFICATE)))
    for name in ("xml", "pdf", "ofd"):
        assert behind[name].render(issued_invoice(2)) == plain[name].render(issued_invoice(2))
    found = load_checker(token).examine(hostile_xml.parse(behind["xml"].render(issued_invoice())))
    assert found.state is SignatureState.VALID


def test_the_key_does_not_leave_the_token(token: SigningSettings) -> None:
    key = load_keys(token).of("")
    assert isinstance(key, TokenKey)
    assert (key._key[pkcs11.Attribute.SENSITIVE], key._key[pkcs11.Attribute.EXTRACTABLE]) == (True, False)
    with pytest.raises(pkcs11.PKCS11Error):
        key._key[pkcs11.Attribute.PRIVATE_EXPONENT]


def test_a_session_that_was_lost_is_opened_again(token: SigningSettings) -> None:
    key = load_keys(token).of("")
    assert isinstance(key, TokenKey)
    first = key.sign(b"x")
    key._key.session.close()
    assert key.sign(b"x") == first


def test_settings_that_name_no_key_are_refused(token: SigningSettings, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("9999")
    wrong = (
        replace(token, token="nobody"),
        replace(token, token_key="nobody"),
        replace(token, token="spare", token_pin=str(pin)),  # nobody has logged in to it
        replace(token, token_module=str(tmp_path / "none.so")),
    )
    for settings in wrong:
        with pytest.raises(SettingsError, match=r"documents\.token_key is of no use") as failed:
            load_keys(settings)
        assert "9999" not in str(failed.value)


def test_another_keys_certificate_and_curves_are_refused(token: SigningSettings, tmp_path: Path) -> None:
    certificate = tmp_path / "other.crt"
    for pair, words in ((key_pair("somebody else"), "is not that of the key"), (curve_pair(), "must be RSA")):
        certificate.write_bytes(pair[1].public_bytes(Encoding.PEM))
        with pytest.raises(ValueError, match=words):
            load_token_key(
                module=MODULE, token="billow", key="documents", pin=Path(token.token_pin), certificate=certificate
            )
