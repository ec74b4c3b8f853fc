"""Which seller a certificate belongs to: the folder of sellers' keys, read as those who verify need it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core import limits
from core.documents.signing_keys import CERTIFICATE_SUFFIX

FILE_BYTES_MAX: Final = 64 * 1024

_NAME: Final = re.compile(r"([0-9A-Z]{15,20})(\.[A-Za-z0-9_-]{1,40})?")


class SellerCertificates:
    """The first certificate of every `{tax id}.crt`, and of `{tax id}.ANYTHING.crt`: those of keys used before.

    Read when first asked and again when the folder has changed: 40 µs a file. Files that hold no certificate are
    passed over, of more than `certificates_max` the first ones by name count. No secrets are read.
    """

    def __init__(self, folder: Path, *, certificates_max: int = limits.SELLER_CERTIFICATES_MAX) -> None:
        self._folder = folder
        self._certificates_max = certificates_max
        self._changed_ns = -1
        self._owners: dict[bytes, str] = {}

    def owner(self, der: bytes) -> str:
        """The tax id of the seller whose certificate this is; empty: nobody's."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except OSError:
            return ""
        if changed_ns != self._changed_ns:
            self._owners = self._read()
            self._changed_ns = changed_ns
        return self._owners.get(hashlib.sha256(der).digest(), "")

    def _read(self) -> dict[bytes, str]:
        owners = {}
        files = sorted(self._folder.glob(f"*{CERTIFICATE_SUFFIX}"))
        for file in files[: self._certificates_max]:
            named = _NAME.fullmatch(file.name.removesuffix(CERTIFICATE_SUFFIX))
            if named is None:
                continue
            try:
                with file.open("rb") as opened:
                    first = x509.load_pem_x509_certificates(opened.read(FILE_BYTES_MAX))[0]
            except (OSError, ValueError):
                continue
            owners[hashlib.sha256(first.public_bytes(Encoding.DER)).digest()] = named[1]
        return owners
