"""The signature inside a PDF: CMS SignedData as PAdES baseline B-B wants it (ETSI EN 319 142-1, RFC 5652, RFC 5035).

Detached, one signer, SHA-256; the signed attributes are content type, digest and the certificate's digest. No time is
inside: PAdES has it in the PDF. asn1crypto encodes DER; what is read is compared with what would be written.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from asn1crypto import cms, tsp
from asn1crypto.x509 import Certificate as Asn1Certificate
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from core.documents.signing_keys import KeyKind, SigningKey, kind_of

SIGNATURE_BYTES_MAX: Final = {KeyKind.EC: 72}  # DER of two numbers of 256 bits; RSA's are as long as the key
ALGORITHMS: Final = {KeyKind.RSA: "sha256_rsa", KeyKind.EC: "sha256_ecdsa"}
MARK: Final = hashlib.sha256(b"the digest goes here").digest()
TEMPLATES_MAX: Final = 512  # of a process, 4 KB each: for the keys of as many sellers
NOT_CMS: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


def sign(*, key: SigningKey, digest: bytes) -> bytes:
    """Signs the SHA-256 of a document; the same bytes always. 20 ms for a key's first, then what the key takes."""
    chain = tuple(map(_der, key.certificates))
    value = key.sign(_attributes(chain[0], digest))
    return _signed(chain, key.kind, digest, value)


def room(key: SigningKey) -> int:
    """How many bytes a signature takes at most."""
    longest = SIGNATURE_BYTES_MAX.get(key.kind, key.bits // 8)
    return len(_signed(tuple(map(_der, key.certificates)), key.kind, MARK, bytes(longest)))


def named(content: bytes) -> bytes | None:
    """The certificate (DER) that a signature names as its own, whoever made it; None: it is not to be found."""
    try:
        signed = cms.ContentInfo.load(content)["content"]
        signer = signed["signer_infos"][0]["sid"].chosen
        for choice in signed["certificates"]:
            certificate = choice.chosen
            same = signer["issuer"].dump() == certificate["tbs_certificate"]["issuer"].dump()
            if same and signer["serial_number"].native == certificate["tbs_certificate"]["serial_number"].native:
                return bytes(certificate.dump())
    except NOT_CMS:
        pass
    return None


def verify(content: bytes, *, digest: bytes, certificate: x509.Certificate) -> bool:
    """Whether `content` is exactly what `sign` makes of this digest with the key of this certificate."""
    try:
        signed = cms.ContentInfo.load(content)["content"]
        value = signed["signer_infos"][0]["signature"].native
        chain = tuple(bytes(choice.chosen.dump()) for choice in signed["certificates"])
        kind = kind_of(certificate)
        if chain[:1] != (_der(certificate),) or _signed(chain, kind, digest, value) != content:
            return False
        _check(certificate, value, _attributes(chain[0], digest))
    except (*NOT_CMS, InvalidSignature):
        return False
    return True


def _check(certificate: x509.Certificate, value: bytes, data: bytes) -> None:
    public = certificate.public_key()
    if isinstance(public, RSAPublicKey):
        public.verify(value, data, PKCS1v15(), SHA256())
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(value, data, ec.ECDSA(SHA256()))
    else:
        raise InvalidSignature


def _attributes(certificate: bytes, digest: bytes) -> bytes:
    """What is signed, as DER."""
    return _attribute_template(certificate).replace(MARK, digest, 1)


def _signed(chain: tuple[bytes, ...], kind: KeyKind, digest: bytes, value: bytes) -> bytes:
    """SignedData as DER; the signer's own certificate is the first of the chain."""
    template = _template(chain, kind, len(value))
    return template[: -len(value)].replace(MARK, digest, 1) + value


@lru_cache(TEMPLATES_MAX)
def _attribute_template(certificate: bytes) -> bytes:
    """The attributes with MARK for a digest: DER sorts the set."""
    own = tsp.SigningCertificateV2({"certs": [{"cert_hash": hashlib.sha256(certificate).digest()}]})
    attributes = cms.CMSAttributes([
        {"type": "content_type", "values": ["data"]},
        {"type": "message_digest", "values": [MARK]},
        {"type": "signing_certificate_v2", "values": [own]},
    ])  # fmt: skip
    return bytes(attributes.dump())


@lru_cache(TEMPLATES_MAX)
def _template(chain: tuple[bytes, ...], kind: KeyKind, value_bytes: int) -> bytes:
    """SignedData with MARK for a digest and zeros, its last bytes, for the signature: asn1crypto takes 10 ms for it."""
    certificates = [Asn1Certificate.load(certificate) for certificate in chain]
    own = certificates[0]
    info = {
        "version": "v1",
        "sid": cms.SignerIdentifier({
            "issuer_and_serial_number": cms.IssuerAndSerialNumber({
                "issuer": own.issuer, "serial_number": own.serial_number,
            }),
        }),
        "digest_algorithm": {"algorithm": "sha256"},
        "signed_attrs": cms.CMSAttributes.load(_attribute_template(chain[0])),
        "signature_algorithm": {"algorithm": ALGORITHMS[kind]},
        "signature": bytes(value_bytes),
    }  # fmt: skip
    content = {
        "version": "v1",
        "digest_algorithms": [{"algorithm": "sha256"}],
        "encap_content_info": {"content_type": "data"},
        "certificates": certificates,
        "signer_infos": [info],
    }
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(content)}).dump())


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
