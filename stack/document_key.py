"""The key that signs documents on this machine: made once a run folder, self-signed, worth nothing elsewhere."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from stack.options import RunFolder
from stack.state import write

KEY_BITS = 2_048
YEARS = 30


def key_path(folder: RunFolder) -> Path:
    """Where the key is; secret."""
    return folder.root / "keys" / "documents.key.pem"


def certificate_path(folder: RunFolder) -> Path:
    """Where its certificate is: what those who verify documents need."""
    return folder.root / "keys" / "documents.certificate.pem"


def ensure(folder: RunFolder) -> None:
    """Makes key and certificate unless they are there: 0.1 s."""
    if key_path(folder).exists() and certificate_path(folder).exists():
        return
    key = generate_private_key(65_537, KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Billow, a development key")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(key_path(folder), secret.decode(), mode=0o600)
    write(certificate_path(folder), certificate.public_bytes(Encoding.PEM).decode())
