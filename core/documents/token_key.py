"""A signing key that never leaves its token: PKCS#11, as hardware security modules and SoftHSM speak it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pkcs11
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from core.documents.signing_keys import KeyKind, load_chain, secret_of

PROBE: Final = b"does this key belong to its certificate?"
_LIBRARIES: dict[str, Any] = {}


class TokenKey:
    """An RSA key on a token, with one session that stays open and is opened anew once when it fails.

    EC keys are refused: a token draws their nonces at random, so the same document would have other bytes every time.
    Not for two threads at once.
    """

    def __init__(self, *, module: str, token: str, key: str, pin: Path, certificates: tuple[x509.Certificate, ...]):
        self._module = module
        self._token = token
        self._label = key
        self._pin = pin
        self._certificates = certificates
        public = certificates[0].public_key()
        if not isinstance(public, RSAPublicKey):
            raise ValueError("a key on a token must be RSA: its EC signatures would differ every time")
        self._public = public
        self._key = self._open()
        try:
            self._public.verify(self.sign(PROBE), PROBE, PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise ValueError(f"the certificate is not that of the key {key!r} on the token {token!r}") from error

    @property
    def kind(self) -> KeyKind:
        """See the port SigningKey."""
        return KeyKind.RSA

    @property
    def bits(self) -> int:
        """See the port."""
        return self._public.key_size

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """See the port."""
        return self._certificates

    def sign(self, data: bytes) -> bytes:
        """See the port. Raises ValueError when the token does not sign."""
        try:
            return self._signed(data)
        except pkcs11.PKCS11Error:  # a token that was away or restarted has forgotten its sessions
            self._key = self._open()
        try:
            return self._signed(data)
        except pkcs11.PKCS11Error as error:
            raise ValueError(f"the token {self._token!r} does not sign: {type(error).__name__}") from error

    def _signed(self, data: bytes) -> bytes:
        return bytes(self._key.sign(data, mechanism=pkcs11.Mechanism.SHA256_RSA_PKCS))

    def _open(self) -> Any:  # pkcs11's keys have classes made at run time
        """Logs in and finds the key. Raises OSError and ValueError."""
        pin = secret_of(self._pin).decode()
        try:
            token = _library(self._module).get_token(token_label=self._token)
            try:
                session = token.open(user_pin=pin)
            except pkcs11.UserAlreadyLoggedIn:  # a login is the whole process's
                session = token.open()
            return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self._label)
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            what = f"{type(error).__name__} {error}".strip()
            raise ValueError(f"no key {self._label!r} on the token {self._token!r}: {what}") from error


def load_token_key(*, module: str, token: str, key: str, pin: Path, certificate: Path) -> TokenKey:
    """Opens a key on a token. Raises OSError and ValueError, whose text says what is wrong and never the PIN."""
    return TokenKey(module=module, token=token, key=key, pin=pin, certificates=load_chain(certificate))


def _library(module: str) -> Any:
    """A PKCS#11 module, loaded once a process, as the standard wants."""
    if module not in _LIBRARIES:
        _LIBRARIES[module] = pkcs11.lib(module)
    return _LIBRARIES[module]
