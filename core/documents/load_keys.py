"""The keys that settings name, opened once a process, and the checker that knows their certificates."""

from __future__ import annotations

from pathlib import Path

from core.documents.seller_certificates import SellerCertificates
from core.documents.signatures import SignatureChecker
from core.documents.signing_keys import KeyRing, SellerKeys, SigningKey, load_chain, load_key
from core.settings import SigningSettings, require


def load_keys(settings: SigningSettings) -> KeyRing:
    """Opens the platform's key, if there is one, and looks into the folder of sellers' keys at every document.

    Raises OSError, and SettingsError naming the setting when a key is of no use. Talks to a token when one is named.
    """
    sellers = SellerKeys(Path(settings.seller_keys)) if settings.seller_keys else None
    try:
        return KeyRing(platform=_platform(settings), sellers=sellers)
    except ValueError as error:
        setting = "documents.token_key" if settings.token_module else "documents.signing_key"
        require(False, setting, f"is of no use: {error}")
        raise


def _platform(settings: SigningSettings) -> SigningKey | None:
    certificate = Path(settings.certificate)
    if settings.token_module:
        from core.documents.token_key import load_token_key

        return load_token_key(
            module=settings.token_module,
            token=settings.token,
            key=settings.token_key,
            pin=Path(settings.token_pin),
            certificate=certificate,
        )
    if not settings.key:
        return None
    passphrase = Path(settings.passphrase) if settings.passphrase else None
    return load_key(key=Path(settings.key), certificate=certificate, passphrase=passphrase)


def load_checker(settings: SigningSettings) -> SignatureChecker:
    """Makes the checker that trusts what these settings sign with, and the certificates they name as former.

    Reads certificates alone, no key and no token. Raises OSError, and SettingsError naming the setting.
    """
    named = [("documents.signing_certificate", settings.certificate)] if settings.certificate else []
    named += [("documents.former_certificates", file) for file in settings.former_certificates]
    trusted = []
    for setting, file in named:
        try:
            trusted.append(load_chain(Path(file))[0])
        except ValueError as error:
            require(False, setting, f"is of no use: {error}")
    sellers = SellerCertificates(Path(settings.seller_keys)) if settings.seller_keys else None
    return SignatureChecker(trusted, sellers=sellers)
