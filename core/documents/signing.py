"""Signing XML documents: an enveloped XAdES-B-B signature, the same bytes for the same document and key.

The signing time is the invoice's time of issue and the ids inside are fixed, because documents are rendered on demand
and must not differ (docs/adr/0023). Canonical XML, SHA-256, and signatures that depend on nothing random.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.xades.xades import XAdESDataObjectFormat, XAdESSigner

from core.documents.signing_keys import KeyKind, SigningKey

METHODS: Final = {KeyKind.RSA: SignatureMethod.RSA_SHA256, KeyKind.EC: SignatureMethod.ECDSA_SHA256}
XADES: Final = "{http://uri.etsi.org/01903/v1.3.2#}"
PLACEHOLDER: Final = b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Id="placeholder"></ds:Signature>'


def sign_xml(document: bytes, *, key: SigningKey, place: str, signed_at_s: int) -> bytes:
    """Returns the canonical document with a signature inside the empty element `place`.

    `signed_at_s` counts from the epoch. The document is one of ours, not one that somebody brought. 4 ms for three
    lines and RSA of 2,048 bits.
    """
    empty = f"<{place}></{place}>".encode()
    if document.count(empty) != 1:
        raise ValueError(f"the document has no empty {place}")
    with_place = document.replace(empty, empty[: len(place) + 2] + PLACEHOLDER + empty[len(place) + 2 :])
    root = etree.fromstring(with_place)
    signer = _Signer(kind=key.kind, signed_at_s=signed_at_s)
    adapted = cast("RSAPrivateKey", _Adapted(key))
    signed = signer.sign(root, key=adapted, cert=list(key.certificates), always_add_key_value=False)
    return bytes(etree.tostring(signed, method="c14n"))


class _Signer(XAdESSigner):
    """signxml's, with nothing from the clock or a random source."""

    def __init__(self, *, kind: KeyKind, signed_at_s: int) -> None:
        super().__init__(
            data_object_format=XAdESDataObjectFormat(Description="Invoice", MimeType="application/xml"),
            signature_algorithm=METHODS[kind],
            digest_algorithm=DigestAlgorithm.SHA256,
            c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_0,
        )
        self._signed_at = dt.datetime.fromtimestamp(signed_at_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def add_signing_time(
        self,
        signed_signature_properties: Any,
        sig_root: Any,  # noqa: ARG002 (signxml's)
        signing_settings: Any,  # noqa: ARG002 (signxml's)
    ) -> None:
        """Says the invoice's time where signxml would say now."""
        time = etree.SubElement(signed_signature_properties, f"{XADES}SigningTime", nsmap=self.namespaces)
        time.text = self._signed_at

    def _get_token(self, *_length: int) -> str:
        """The end of an id; ids differ by what stands before it, and a document has one signature."""
        return "1"


class _Adapted:
    """A SigningKey in the shape of the keys that signxml calls."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.key_size = key.bits

    def sign(self, data: bytes, **_algorithm: object) -> bytes:
        """Signs; the algorithm was chosen by the kind of the key."""
        return self._key.sign(data)
