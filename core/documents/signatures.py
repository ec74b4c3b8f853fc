"""Telling what a signature on an XML document is worth."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from core.documents.xml_cn import SIGNATURE_PLACE

_DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"


class SignatureState(enum.StrEnum):
    """What was found."""

    UNSIGNED = "unsigned"
    VALID = "valid"  # the whole document is signed by a certificate that is trusted here
    UNKNOWN = "unknown"  # there is a signature, by nobody known here: it says nothing, either way
    BROKEN = "broken"  # a trusted certificate is named, and the document is not what it signed


class SignatureChecker:
    """Checks enveloped signatures against a list of trusted certificates, not against any authority's.

    Only what Billow makes is accepted: one signature, at its place, over the whole document, RSA with SHA-256. So a
    signed part that was moved elsewhere (signature wrapping) is broken, not valid.
    """

    def __init__(self, trusted: Iterable[x509.Certificate]) -> None:
        self._trusted = {_bytes(certificate): certificate for certificate in trusted}
        self._config = SignatureConfiguration(
            location=f"./{SIGNATURE_PLACE}/",
            expect_references=1,
            signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
            digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
            default_reference_c14n_method=CanonicalizationMethod.CANONICAL_XML_1_0,
        )

    def check(self, root: etree._Element) -> SignatureState:
        """Checks a document that hostile_xml.parse has parsed, comments kept out. About 3 ms for three lines."""
        signatures = list(root.iter(f"{_DS}Signature"))
        if not signatures:
            return SignatureState.UNSIGNED
        place = root.find(SIGNATURE_PLACE)
        if len(signatures) != 1 or place is None or signatures[0].getparent() is not place or len(place) != 1:
            return SignatureState.BROKEN
        certificate = self._named(signatures[0])
        if certificate is None:
            return SignatureState.UNKNOWN
        references = signatures[0].findall(f"{_DS}SignedInfo/{_DS}Reference")
        if [reference.get("URI") for reference in references] != [""]:
            return SignatureState.BROKEN
        try:
            XMLVerifier().verify(root, x509_cert=certificate, expect_config=self._config)
        except (SignXMLException, UnsupportedAlgorithm, etree.LxmlError, ValueError):
            return SignatureState.BROKEN
        return SignatureState.VALID

    def _named(self, signature: etree._Element) -> x509.Certificate | None:
        """The trusted certificate that the signature names."""
        text = signature.findtext(f"{_DS}KeyInfo/{_DS}X509Data/{_DS}X509Certificate") or ""
        return self._trusted.get("".join(text.split()))


def _bytes(certificate: x509.Certificate) -> str:
    """The certificate as it stands in a signature, without line ends."""
    pem = certificate.public_bytes(Encoding.PEM).decode()
    return "".join(pem.splitlines()[1:-1])
