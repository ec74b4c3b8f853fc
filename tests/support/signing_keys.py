"""Keys and certificates for tests, made once."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.documents.signing_keys import KeyRing, PlainKey

AnyKey = RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def key_pair(name: str = "Billow test") -> tuple[RSAPrivateKey, x509.Certificate]:
    """Returns a key of 2,048 bits and its self-signed certificate."""
    key = generate_private_key(65_537, 2_048)
    return key, certificate_of(key, name)


@cache
def curve_pair(name: str = "Billow curve") -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Returns a key on P-256 and its self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, certificate_of(key, name)


def certificate_of(key: AnyKey, name: str) -> x509.Certificate:
    """Returns a self-signed certificate of a key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return _builder(key, subject).issuer_name(subject).sign(key, hashes.SHA256())


def _builder(key: AnyKey, subject: x509.Name) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2056, 1, 1, tzinfo=dt.UTC))
    )


def ring(key: AnyKey, certificate: x509.Certificate) -> KeyRing:
    """Returns a key ring whose platform key this is."""
    return KeyRing(platform=PlainKey(key, (certificate,)))


def write_pair(
    folder: Path, name: str, key: AnyKey, certificate: x509.Certificate, *, passphrase: bytes = b""
) -> tuple[Path, Path]:
    """Writes `{name}.pem` and `{name}.crt`, each replaced at once, and returns where they are."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    paths = folder / f"{name}.pem", folder / f"{name}.crt"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    for path, content in zip(paths, (secret, certificate.public_bytes(Encoding.PEM)), strict=True):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(path)
    return paths
