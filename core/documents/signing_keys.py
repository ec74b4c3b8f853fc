"""The keys that documents are signed with: the platform's, and those of sellers who brought their own.

Only keys whose signatures are the same bytes every time are taken, because documents are rendered on demand and must
not differ: RSA with PKCS #1 v1.5, and ECDSA on P-256 with the nonce of RFC 6979 (docs/adr/0023).
"""

from __future__ import annotations

import enum
import re
from collections import OrderedDict
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from core import limits

KEY_BITS_MIN: Final = 2_048
KEY_SUFFIX: Final = ".pem"
CERTIFICATE_SUFFIX: Final = ".crt"

_TAX_ID: Final = re.compile(r"[0-9A-Z]{15,20}")  # what may be part of a file's name


class KeyKind(enum.StrEnum):
    """What a key signs with; always over SHA-256."""

    RSA = "rsa"  # PKCS #1 v1.5
    EC = "ec"  # P-256, deterministic


class SigningKey(Protocol):
    """A key and the certificates that speak for it. Blocks: 1 to 3 ms of CPU, more behind a token."""

    @property
    def kind(self) -> KeyKind:
        """What it signs with."""
        ...

    @property
    def bits(self) -> int:
        """The key's length."""
        ...

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Its own certificate first, then those above it."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Signs the SHA-256 of `data`: the same bytes for the same data. EC signatures are DER."""
        ...


class Keys(Protocol):
    """Finds the key for a document."""

    def of(self, seller_tax_id: str) -> SigningKey | None:
        """The key that signs this seller's documents; None: they stay unsigned. Raises OSError and ValueError."""
        ...


class PlainKey:
    """A key in this process's memory."""

    def __init__(
        self, key: RSAPrivateKey | ec.EllipticCurvePrivateKey, certificates: tuple[x509.Certificate, ...]
    ) -> None:
        self._key = key
        self._certificates = certificates
        self._kind = kind_of(certificates[0])
        self._ecdsa = ec.ECDSA(SHA256(), deterministic_signing=True)

    @property
    def kind(self) -> KeyKind:
        """See the port."""
        return self._kind

    @property
    def bits(self) -> int:
        """See the port."""
        return self._key.key_size

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """See the port."""
        return self._certificates

    def sign(self, data: bytes) -> bytes:
        """See the port."""
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, PKCS1v15(), SHA256())
        return self._key.sign(data, self._ecdsa)


class KeyRing:
    """The Keys of a process: a seller's own key if its folder has one, else the platform's."""

    def __init__(self, *, platform: SigningKey | None, sellers: SellerKeys | None = None) -> None:
        self._platform = platform
        self._sellers = sellers

    def of(self, seller_tax_id: str) -> SigningKey | None:
        """See the port. A seller's key that cannot be used is an error: the platform never signs in its place."""
        own = self._sellers.of(seller_tax_id) if self._sellers else None
        return own or self._platform


class SellerKeys:
    """A folder of sellers' keys: `{tax id}.pem` and, with the certificate and the chain above it, `{tax id}.crt`.

    Looked at for every document (two calls of stat, some microseconds), so a key that appears signs what is rendered
    from then on; documents that were kept before do not change. Remembers `keys_max` keys, the latest used.
    """

    def __init__(self, folder: Path, *, keys_max: int = limits.SELLER_KEYS_KEPT_MAX) -> None:
        self._folder = folder
        self._keys_max = keys_max
        self._kept: OrderedDict[str, tuple[tuple[int, ...], SigningKey]] = OrderedDict()

    def of(self, seller_tax_id: str) -> SigningKey | None:
        """The seller's own key; None when it has none. Raises OSError and ValueError when it is of no use."""
        if not _TAX_ID.fullmatch(seller_tax_id):
            return None
        key = self._folder / f"{seller_tax_id}{KEY_SUFFIX}"
        certificate = key.with_suffix(CERTIFICATE_SUFFIX)
        try:
            facts = (*_facts(key), *_facts(certificate))
        except FileNotFoundError:
            self._kept.pop(seller_tax_id, None)
            if key.exists():
                raise ValueError(f"{certificate} is missing") from None
            return None
        kept = self._kept.get(seller_tax_id)
        if kept is None or kept[0] != facts:
            kept = (facts, load_key(key=key, certificate=certificate))
            self._kept[seller_tax_id] = kept
        self._kept.move_to_end(seller_tax_id)
        while len(self._kept) > self._keys_max:
            self._kept.popitem(last=False)
        return kept[1]


def load_key(*, key: Path, certificate: Path, passphrase: Path | None = None) -> PlainKey:
    """Reads a PEM key, encrypted when `passphrase` names the file of its passphrase, and its certificate and chain.

    Raises OSError, and ValueError when they are no RSA key of at least 2,048 bits or EC key on P-256, the certificate
    is another key's, or the passphrase is wrong.
    """
    secret = secret_of(passphrase) if passphrase else None
    try:
        private = load_pem_private_key(key.read_bytes(), password=secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{key} cannot be read: {error}") from error
    chain = load_chain(certificate)
    if not isinstance(private, RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError(f"{key} is neither an RSA nor an EC key")
    if chain[0].public_key() != private.public_key():
        raise ValueError(f"{certificate} does not begin with the certificate of {key}")
    return PlainKey(private, chain)


def load_chain(certificate: Path) -> tuple[x509.Certificate, ...]:
    """Reads a certificate and those above it. Raises OSError, and ValueError when its key cannot sign for us."""
    try:
        chain = tuple(x509.load_pem_x509_certificates(certificate.read_bytes()))
        kind_of(chain[0])
    except ValueError as error:
        raise ValueError(f"{certificate}: {error}") from error
    if len(chain) > limits.CERTIFICATES_MAX:
        raise ValueError(f"{certificate} has more than {limits.CERTIFICATES_MAX} certificates")
    return chain


def kind_of(certificate: x509.Certificate) -> KeyKind:
    """What the key of a certificate signs with. Raises ValueError for keys that are not taken."""
    public = certificate.public_key()
    if isinstance(public, RSAPublicKey) and public.key_size >= KEY_BITS_MIN:
        return KeyKind.RSA
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return KeyKind.EC
    raise ValueError(f"no RSA key of at least {KEY_BITS_MIN} bits and no EC key on P-256")


def secret_of(path: Path) -> bytes:
    """A passphrase or PIN: the file's first line. Raises OSError, and ValueError for an empty one."""
    lines = path.read_bytes().splitlines()
    if not lines or not lines[0]:
        raise ValueError(f"{path} is empty")
    return lines[0]


def _facts(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written or replaced."""
    found = path.stat()
    return (found.st_mtime_ns, found.st_size, found.st_ino)
