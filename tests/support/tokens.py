"""Tokens (JWT) as an identity provider makes them, and as attackers do."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

ISSUER = "https://identity.example.com"
AUDIENCE = "billow"
KEY_ID = "2026-11"


def packed(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class Issuer:
    """Who makes tokens, with a key of 2,048 bits."""

    key: RSAPrivateKey = field(default_factory=lambda: generate_private_key(65_537, 2_048))

    def write_keys(self, path: Path) -> Path:
        """Writes the public key as JWKS."""
        numbers = self.key.public_key().public_numbers()
        modulus, exponent = packed(numbers.n.to_bytes(256)), packed(numbers.e.to_bytes(3))
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID, "n": modulus, "e": exponent}
        path.write_text(json.dumps({"keys": [key]}))
        return path

    def token(self, *, header: dict[str, Any] | None = None, signed: bool = True, **claims: Any) -> str:
        """A token of tenant `billow_tenant` with `scope`; claims of None are left out."""
        now_s = int(time.time())
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now_s, "exp": now_s + 900} | claims
        parts = [
            {"alg": "RS256", "typ": "JWT", "kid": KEY_ID} | (header or {}),
            {name: value for name, value in said.items() if value is not None},
        ]
        text = ".".join(packed(json.dumps(part).encode()) for part in parts)
        signature = self.key.sign(text.encode(), PKCS1v15(), SHA256()) if signed else b""
        return f"{text}.{packed(signature)}"
