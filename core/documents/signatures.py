"""Telling what a signature on an XML document is worth, and who made it. PDF is in pdf_signatures.py."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier
from signxml.xades.xades import XAdESSignatureConfiguration, XAdESVerifier

from core.documents.findings import SignatureState
from core.documents.seller_certificates import SellerCertificates
from core.documents.xml_cn import SIGNATURE_PLACE

PLAIN_REFERENCES: Final = [""]  # XML-DSig, as the first version of the format was signed
XADES_REFERENCES: Final = ["", "#SignXMLSignature1-SignedProperties1", "#SignXMLCertificate1"]

_DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_SELLER: Final = "EInvoiceData/SellerInformation/SellerIdNum"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureFinding:
    """What was found, and of whom.

    `seller_tax_id` is set when the certificate is that of a seller's own key; the platform's has none. It is only
    worth something with VALID, and then only for an invoice of this seller: of a PDF, the caller compares.
    """

    state: SignatureState
    certificate: x509.Certificate | None = None  # the trusted one that is named
    seller_tax_id: str = ""


class TrustedCertificates:
    """The certificates whose signatures count: the platform's, now and before, and those of sellers' own keys."""

    def __init__(self, platform: Iterable[x509.Certificate], sellers: SellerCertificates | None = None) -> None:
        self._platform = {certificate.public_bytes(Encoding.DER): certificate for certificate in platform}
        self._sellers = sellers

    def find(self, der: bytes) -> SignatureFinding | None:
        """Whose certificate this is, the state being BROKEN as nothing was verified yet; None: nobody's known here."""
        certificate = self._platform.get(der)
        if certificate is not None:
            return SignatureFinding(state=SignatureState.BROKEN, certificate=certificate)
        tax_id = self._sellers.owner(der) if self._sellers else ""
        if not tax_id:
            return None
        certificate = x509.load_der_x509_certificate(der)
        return SignatureFinding(state=SignatureState.BROKEN, certificate=certificate, seller_tax_id=tax_id)


class SignatureChecker:
    """Checks enveloped signatures against a list of trusted certificates, not against any authority's.

    Only what Billow makes is accepted: one signature, at its place, over the whole document, RSA or ECDSA with
    SHA-256, XAdES or the plain XML-DSig of the format's first version. So a signed part that was moved elsewhere
    (signature wrapping) is broken, not valid. A seller's key counts for this seller's documents alone.
    """

    def __init__(self, trusted: Iterable[x509.Certificate], *, sellers: SellerCertificates | None = None) -> None:
        self.trusted: Final = TrustedCertificates(trusted, sellers)
        self._plain = SignatureConfiguration(expect_references=1, **_demands())
        self._xades = XAdESSignatureConfiguration(expect_references=len(XADES_REFERENCES), **_demands())

    def check(self, root: etree._Element) -> SignatureState:
        """Checks a document that hostile_xml.parse has parsed, comments kept out. About 5 ms for three lines."""
        return self.examine(root).state

    def examine(self, root: etree._Element) -> SignatureFinding:
        """Checks as `check` does, and says whose signature it is."""
        signatures = list(root.iter(f"{_DS}Signature"))
        if not signatures:
            return SignatureFinding(state=SignatureState.UNSIGNED)
        place = root.find(SIGNATURE_PLACE)
        if len(signatures) != 1 or place is None or signatures[0].getparent() is not place or len(place) != 1:
            return SignatureFinding(state=SignatureState.BROKEN)
        found = self.trusted.find(_named(signatures[0]))
        if found is None or found.certificate is None:
            return SignatureFinding(state=SignatureState.UNKNOWN)
        if found.seller_tax_id and found.seller_tax_id != root.findtext(_SELLER):
            return found
        if not self._verifies(root, signatures[0], found.certificate):
            return found
        return SignatureFinding(
            state=SignatureState.VALID, certificate=found.certificate, seller_tax_id=found.seller_tax_id
        )

    def _verifies(self, root: etree._Element, signature: etree._Element, certificate: x509.Certificate) -> bool:
        """Whether the signature is one of ours, by this certificate, over this document."""
        references = signature.findall(f"{_DS}SignedInfo/{_DS}Reference")
        uris = [reference.get("URI") for reference in references]
        try:
            if uris == XADES_REFERENCES:
                XAdESVerifier().verify(root, x509_cert=certificate, expect_config=self._xades)
            elif uris == PLAIN_REFERENCES:
                XMLVerifier().verify(root, x509_cert=certificate, expect_config=self._plain)
            else:
                return False
        except (SignXMLException, UnsupportedAlgorithm, etree.LxmlError, ValueError):
            return False
        return True


def _demands() -> dict[str, Any]:
    """What a signature must be; SignatureConfiguration's arguments are of many types."""
    return {
        "location": f"./{SIGNATURE_PLACE}/",
        "signature_methods": frozenset({SignatureMethod.RSA_SHA256, SignatureMethod.ECDSA_SHA256}),
        "digest_algorithms": frozenset({DigestAlgorithm.SHA256}),
        "default_reference_c14n_method": CanonicalizationMethod.CANONICAL_XML_1_0,
    }


def _named(signature: etree._Element) -> bytes:
    """The certificate (DER) that the signature names first; nothing when that is no base64."""
    text = signature.findtext(f"{_DS}KeyInfo/{_DS}X509Data/{_DS}X509Certificate") or ""
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=False)
    except ValueError:
        return b""
