"""The key that signs documents on this machine: made once a run folder, with an authority of its own, worth nothing
elsewhere.

The authority's key is forgotten as soon as it has signed. Its certificate is the trust anchor to give outside tools.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from stack.options import RunFolder
from stack.state import write

KEY_BITS = 2_048
YEARS = 30
AUTHORITY_USES = ("key_cert_sign", "crl_sign")
DOCUMENT_USES = ("digital_signature", "content_commitment")  # the second was called nonRepudiation
USES = (
    *DOCUMENT_USES, "key_encipherment", "data_encipherment", "key_agreement", *AUTHORITY_USES, "encipher_only",
    "decipher_only",
)  # fmt: skip


def key_path(folder: RunFolder) -> Path:
    """Where the key is; secret."""
    return folder.root / "keys" / "documents.key.pem"


def certificate_path(folder: RunFolder) -> Path:
    """Where its certificate is: what those who verify documents need."""
    return folder.root / "keys" / "documents.certificate.pem"


def authority_path(folder: RunFolder) -> Path:
    """Where the certificate of the authority is that signed the key's: the trust anchor for outside tools."""
    return folder.root / "keys" / "documents.authority.pem"


def sellers_path(folder: RunFolder) -> Path:
    """The folder of sellers' own keys, {tax id}.pem and .crt; empty until somebody lays one there."""
    return folder.root / "keys" / "sellers"


def ensure(folder: RunFolder) -> None:
    """Makes key and certificates unless they are there: 0.2 s. A folder with an older, self-signed one keeps it."""
    sellers_path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    if key_path(folder).exists() and certificate_path(folder).exists():
        return
    authority_key, key = (generate_private_key(65_537, KEY_BITS) for _ in range(2))
    authority_name, name = _name("Billow, a development authority"), _name("Billow, a development key")
    authority = (
        _certificate(authority_name, authority_key, authority_key, AUTHORITY_USES)
        .issuer_name(authority_name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _certificate(name, key, authority_key, DOCUMENT_USES)
        .issuer_name(authority_name)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(key_path(folder), secret.decode(), mode=0o600)
    write(authority_path(folder), authority.public_bytes(Encoding.PEM).decode())
    write(certificate_path(folder), certificate.public_bytes(Encoding.PEM).decode())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    name: x509.Name, key: RSAPrivateKey, issuer_key: RSAPrivateKey, uses: tuple[str, ...]
) -> x509.CertificateBuilder:
    """What both certificates have."""
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(**{use: use in uses for use in USES})
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * YEARS))
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
